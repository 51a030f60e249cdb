//! Programs that do all that a guest can do wrong: none harms the host, none outlives its slot.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cellblock_exec::{Limit, Outcome};
use proptest::{prelude::*, sample, strategy::ValueTree, test_runner::TestRunner};

use super::guest::{ALLOCATOR, BYTES, Bench, CALLS, Fault, OUTPUT, Program, QUOTA, SOURCE};
use crate::{
    fs::Errno,
    host::WASI_P1,
    imports,
    rerun,
    turn::Bounds,
};

const MIB: u64 = 1024 * 1024;
const WALL: Duration = Duration::from_millis(100);
/// How long after its limit a program may still run: a yield, and a busy machine.
const LATE: Duration = Duration::from_millis(300);

fn program() -> Program {
    Program::default()
}

fn exited(code: i32) -> Outcome {
    Outcome::Exited { code }
}

fn signaled(signal: i32) -> Outcome {
    Outcome::Signaled { signal }
}

fn limit(limit: Limit) -> Outcome {
    Outcome::LimitExceeded { limit }
}

/// What is done with the slot of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Reused,
    Dropped,
}

#[test]
fn the_test_guest_knows_every_call() {
    let bench = Bench::new(None);
    let linker = imports::linker(&bench.ticking.engine).unwrap();
    let mut store = wasmtime::Store::new(&bench.ticking.engine, host::Host::new());
    let linked: BTreeSet<(String, String)> =
        linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect();
    let mut known: BTreeSet<(String, String)> =
        CALLS.iter().map(|(name, _)| (WASI_P1.to_owned(), (*name).to_owned())).collect();
    known.insert(("host".to_owned(), "call".to_owned()));
    assert_eq!(linked, known, "what a guest can call");
}

#[tokio::test]
async fn programs_end_as_they_should_and_leave_nothing() {
    use Then::{Dropped, Reused};
    let all = BYTES;
    let errno = |errno: Errno| exited(errno as i32);
    let mut sleep = program();
    let hour = sleep.data(&[&[0u8; 24][..], &3_600_000_000_000u64.to_le_bytes(), &[0; 16]].concat());
    let sleep = sleep.call("poll_oneoff", &[hour, 0x8000, 1, 0x9000]);
    let mut open = program();
    let name = open.data(b"tmp/file");
    let open_arguments = [3, 0, name, 8, 0, 1 << 1, 0, 0, 0x8000];
    let mut flood = program();
    let vectors = flood.words(&[0, all].repeat(1024));
    let mut create = program();
    let file = create.data(b"new");
    let same = create.words(&[0, MIB].repeat(1024));
    let zeros = create.words(&[0, all].repeat(1024));
    let create = create.call("path_open", &[3, 0, file, 3, 1, 1 << 1 | 1 << 6, 0, 0, 0x8000]);
    let programs: Vec<(&str, Program, Outcome, Then)> = vec![
        ("nothing", program(), exited(0), Reused),
        ("a page", program().store(5 * MIB, 1), exited(0), Reused),
        ("all memory", program().fill(ALLOCATOR + 4, 0xAA, SOURCE - ALLOCATOR - 4).fill(SOURCE + MIB, 0xAA, all - SOURCE - MIB), exited(0), Reused),
        ("its own source", program().repeat(2).fill(0, 0xAA, all), signaled(6), Reused),
        ("past its memory", program().fill(1, 0xAA, all), signaled(11), Reused),
        ("growing", program().grow(1), exited(384), Dropped),
        ("growing to its limit", program().repeat(400).grow(1), exited(-1), Dropped),
        ("growing too much", program().grow(65_536), exited(-1), Reused),
        ("growing by nothing", program().grow(0), exited(384), Reused),
        ("no end", program().spin(), limit(Limit::Wall), Reused),
        ("no end of recursion", program().recurse(), signaled(11), Reused),
        ("unreachable", program().fault(Fault::Unreachable), signaled(6), Reused),
        ("division by zero", program().fault(Fault::DivisionByZero), signaled(8), Reused),
        ("division overflow", program().fault(Fault::Overflow), signaled(8), Reused),
        ("out of bounds", program().fault(Fault::OutOfBounds), signaled(11), Reused),
        ("not a number", program().fault(Fault::Conversion), signaled(8), Reused),
        ("call of nothing", program().fault(Fault::NullCall), signaled(4), Reused),
        ("call of another type", program().fault(Fault::WrongCall), signaled(4), Reused),
        ("exception", program().fault(Fault::Exception), signaled(6), Reused),
        ("exceptions", program().repeat(100_000).throw_and_catch(), exited(0), Reused),
        ("exceptions at once", program().hoard_exceptions(10_000), exited(0), Reused),
        ("exceptions at once without end", program().hoard_exceptions(u64::from(u32::MAX)), signaled(11), Reused),
        ("stack pointer", program().set_stack_pointer(0), exited(0), Dropped),
        ("stack pointer, then a trap", program().set_stack_pointer(1).fault(Fault::Unreachable), signaled(6), Dropped),
        ("stack pointer, then no end", program().set_stack_pointer(1).spin(), limit(Limit::Wall), Dropped),
        ("exit", program().call("proc_exit", &[3]), exited(3), Reused),
        ("exit with a large code", program().call("proc_exit", &[0xFFFF_FFFF]), exited(255), Reused),
        ("exit with 126", program().call("proc_exit", &[126]), exited(126), Reused),
        ("raise", program().call("proc_raise", &[9]), errno(Errno::Notsup), Reused),
        ("sleep", sleep, limit(Limit::Wall), Reused),
        ("poll nothing", program().call("poll_oneoff", &[0, 0, 0, 0]), errno(Errno::Inval), Reused),
        ("poll too much", program().call("poll_oneoff", &[0, 0, 1025, 0]), errno(Errno::Inval), Reused),
        ("poll all there is", program().call("poll_oneoff", &[0x3000, 0, u64::from(u32::MAX), 0]), errno(Errno::Inval), Reused),
        ("random gigabytes", program().call("random_get", &[0, u64::from(u32::MAX)]), signaled(6), Reused),
        ("random without end", program().repeat(1 << 30).call("random_get", &[SOURCE + MIB, all - SOURCE - MIB]), limit(Limit::Wall), Reused),
        ("descriptors", open.clone().repeat(1_000_000).call("path_open", &open_arguments), errno(Errno::Mfile), Reused),
        ("closing all", program().call("fd_close", &[0]).call("fd_close", &[1]).call("fd_close", &[2]).call("fd_close", &[3]), exited(0), Reused),
        ("output flood", flood.clone().call("fd_write", &[1, vectors, 1024, 0x9000]), limit(Limit::Output), Reused),
        ("error flood", flood.repeat(1 << 30).call("fd_write", &[2, vectors, 1024, 0x9000]), limit(Limit::Output), Reused),
        ("full disk", create.clone().call("fd_write", &[4, same, 1024, 0x9000]).call("fd_write", &[4, same, 1, 0x9000]), errno(Errno::Nospc), Reused),
        ("sparse file", create.clone().call("fd_filestat_set_size", &[4, 1 << 50]), errno(Errno::Nospc), Reused),
        ("sparse write", create.clone().call("fd_pwrite", &[4, same, 1, 1 << 50, 0x9000]), errno(Errno::Nospc), Reused),
        ("truncating without end", create.repeat(1 << 30).call("fd_filestat_set_size", &[4, QUOTA.bytes]), limit(Limit::Wall), Reused),
        ("zeros", program().call("fd_read", &[0, zeros, 1024, 0x9000]), signaled(11), Reused),
        ("listing into nothing", program().repeat(100_000).call("fd_readdir", &[3, 0x8000, 0, 0, 0x9000]), exited(0), Reused),
        ("sockets", program().call("sock_send", &[3, 0, 0, 0, 0]), errno(Errno::Notsup), Reused),
    ];
    let bench = Bench::new(None);
    for (what, program, expected, then) in programs {
        if what == "zeros" {
            continue;
        }
        let mut slot = bench.slot().await;
        let ended = bench.run(&mut slot, &program, if expected == limit(Limit::Wall) { WALL } else { 20 * WALL }).await;
        if what == "random gigabytes" {
            // It filled all memory, its own source too, before it came to the end.
            assert!(matches!(ended.outcome, Outcome::Signaled { .. }), "{what}: {:?}", ended.outcome);
        } else {
            assert_eq!(ended.outcome, expected, "{what}");
        }
        assert!(ended.wall < 20 * WALL + LATE, "{what}: {:?}", ended.wall);
        let turn = std::mem::take(&mut slot.store.data_mut().turn);
        for output in [turn.stdout, turn.stderr] {
            assert!(output.finish().bytes.len() as u64 <= OUTPUT + 100, "{what}");
        }
        let reused = bench.is_reused(slot).await;
        assert_eq!(if reused { Reused } else { Dropped }, then, "{what}");
    }
}
