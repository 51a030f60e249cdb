//! Counted instructions: the same program stops at the same place every time.

use std::time::Duration;

use cellblock_exec::{Limit, Outcome};

use super::guest::{Program, TestBed};

const WALL: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_same_program_takes_the_same_fuel() {
    let bench = TestBed::new(Some(1_000_000));
    let mut slot = bench.slot().await;
    let program = Program::default()
        .repeat(100)
        .fill(1 << 20, 1, 1000)
        .fault(super::guest::Fault::Unreachable);
    let mut spent = Vec::new();
    for _ in 0..3 {
        let ended = bench.run(&mut slot, &program, WALL).await;
        assert_eq!(ended.outcome, Outcome::Signaled { signal: 6 });
        spent.push(ended.fuel.unwrap());
    }
    let mut other = bench.slot().await;
    spent.push(bench.run(&mut other, &program, WALL).await.fuel.unwrap());
    assert!(spent[0] > 1000 && spent.iter().all(|fuel| *fuel == spent[0]), "{spent:?}");
    let more = Program::default()
        .repeat(101)
        .fill(1 << 20, 1, 1000)
        .fault(super::guest::Fault::Unreachable);
    assert!(bench.run(&mut other, &more, WALL).await.fuel.unwrap() > spent[0]);
}

#[tokio::test]
async fn a_program_without_end_stops_where_its_fuel_does() {
    let bench = TestBed::new(Some(200_000));
    let mut counts = Vec::new();
    for _ in 0..3 {
        let mut slot = bench.slot().await;
        // Each instruction writes the next byte, so the memory shows where the program stopped.
        let mut program = Program::default();
        for n in 0..10_000 {
            program = program.store((1 << 20) + n, 1);
        }
        let ended = bench.run(&mut slot, &program, WALL).await;
        assert_eq!(ended.outcome, Outcome::LimitExceeded { limit: Limit::Cpu });
        assert_eq!((ended.fuel, ended.alive), (Some(200_000), false));
        counts.push(slot.bytes()[1 << 20..].iter().take_while(|byte| **byte == 1).count());
        assert!(bench.is_reused(slot).await);
    }
    assert!(
        counts[0] > 1000 && counts[0] < 10_000 && counts.iter().all(|count| *count == counts[0]),
        "{counts:?}"
    );
    let mut slot = bench.slot().await;
    let ended = bench.run(&mut slot, &Program::default().spin(), WALL).await;
    assert_eq!(ended.outcome, Outcome::LimitExceeded { limit: Limit::Cpu });
    // The next turn has its full fuel again.
    assert!(bench.run(&mut slot, &Program::default(), WALL).await.outcome.is_success());
}
