//! Programs that do everything wrong that a guest can do. None harms the host, and none outlives
//! its slot.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cellblock_exec::{Limit, Outcome};
use cellblock_rerun::{assert_passed, inside, rerun};
use proptest::{prelude::*, sample, strategy::ValueTree, test_runner::TestRunner};

use super::guest::{ALLOCATOR, BYTES, CALLS, Fault, OUTPUT, Program, QUOTA, SOURCE, TestBed};
use crate::{
    fs::Errno,
    host::{Host, WASI_P1},
    imports,
    turn::TurnBounds,
};

const MIB: u64 = 1024 * 1024;
const WALL: Duration = Duration::from_millis(100);
/// The wall limit of programs that should end by themselves.
const MAX_WALL: Duration = Duration::from_secs(10);
/// The maximum time that a program runs beyond its limit: until a yield, on a busy machine.
const MAX_DELAY: Duration = Duration::from_millis(300);

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

/// The fate of the slot of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotFate {
    Reused,
    Dropped,
}

#[test]
fn the_test_guest_knows_every_call() {
    let bench = TestBed::new(None);
    let linker = imports::linker(&bench.ticking.engine).unwrap();
    let mut store = wasmtime::Store::new(&bench.ticking.engine, Host::new());
    let linked: BTreeSet<(String, String)> = linker
        .iter(&mut store)
        .map(|(module, name, _)| (module.to_owned(), name.to_owned()))
        .collect();
    let mut known: BTreeSet<(String, String)> =
        CALLS.iter().map(|(name, _)| (WASI_P1.to_owned(), (*name).to_owned())).collect();
    known.insert(("host".to_owned(), "call".to_owned()));
    assert_eq!(linked, known, "what a guest can call");
}

#[tokio::test]
async fn programs_end_as_they_should_and_leave_nothing() {
    use SlotFate::{Dropped, Reused};
    let all = BYTES;
    let errno = |errno: Errno| exited(errno as i32);
    let mut sleep = program();
    let hour =
        sleep.data(&[&[0u8; 24][..], &3_600_000_000_000u64.to_le_bytes(), &[0; 16]].concat());
    let sleep = sleep.call("poll_oneoff", &[hour, 0x8000, 1, 0x9000]);
    let mut open = program();
    let name = open.data(b"tmp/file");
    let open_arguments = [3, 0, name, 8, 0, 1 << 1, 0, 0, 0x8000];
    let mut flood = program();
    let vectors = flood.words(&[0, all].repeat(1024));
    let mut create = program();
    let file = create.data(b"new");
    let same = create.words(&[0, MIB].repeat(1024));
    let create = create.call("path_open", &[3, 0, file, 3, 1, 1 << 1 | 1 << 6, 0, 0, 0x8000]);
    let mut zero = program();
    let name = zero.data(b"zero");
    let all_memory = zero.words(&[0, all].repeat(1024));
    let zero = zero.call("path_open", &[3, 0, name, 4, 0, 1 << 1, 0, 0, 0x8000]);
    let programs: Vec<(&str, Program, Outcome, SlotFate)> = vec![
        ("nothing", program(), exited(0), Reused),
        ("a page", program().store(5 * MIB, 1), exited(0), Reused),
        (
            "all memory",
            program().fill(ALLOCATOR + 4, 0xAA, SOURCE - ALLOCATOR - 4).fill(
                SOURCE + MIB,
                0xAA,
                all - SOURCE - MIB,
            ),
            exited(0),
            Reused,
        ),
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
        (
            "exceptions at once without end",
            program().hoard_exceptions(u64::from(u32::MAX)),
            signaled(11),
            Reused,
        ),
        ("stack pointer", program().set_stack_pointer(0), exited(0), Dropped),
        (
            "stack pointer, then a trap",
            program().set_stack_pointer(1).fault(Fault::Unreachable),
            signaled(6),
            Dropped,
        ),
        (
            "stack pointer, then no end",
            program().set_stack_pointer(1).spin(),
            limit(Limit::Wall),
            Dropped,
        ),
        ("exit", program().call("proc_exit", &[3]), exited(3), Reused),
        (
            "exit with a large code",
            program().call("proc_exit", &[0xFFFF_FFFF]),
            exited(255),
            Reused,
        ),
        ("exit with 126", program().call("proc_exit", &[126]), exited(126), Reused),
        ("raise", program().call("proc_raise", &[9]), errno(Errno::Notsup), Reused),
        ("sleep", sleep, limit(Limit::Wall), Reused),
        ("poll nothing", program().call("poll_oneoff", &[0, 0, 0, 0]), errno(Errno::Inval), Reused),
        (
            "poll too much",
            program().call("poll_oneoff", &[0, 0, 1025, 0]),
            errno(Errno::Inval),
            Reused,
        ),
        (
            "poll all there is",
            program().call("poll_oneoff", &[0x3000, 0, u64::from(u32::MAX), 0]),
            errno(Errno::Inval),
            Reused,
        ),
        (
            "random gigabytes",
            program().call("random_get", &[0, u64::from(u32::MAX)]),
            signaled(6),
            Reused,
        ),
        (
            "random without end",
            program().repeat(1 << 30).call("random_get", &[SOURCE + MIB, all - SOURCE - MIB]),
            limit(Limit::Wall),
            Reused,
        ),
        (
            "descriptors",
            open.clone().repeat(1_000_000).call("path_open", &open_arguments),
            errno(Errno::Mfile),
            Reused,
        ),
        (
            "closing all",
            program()
                .call("fd_close", &[0])
                .call("fd_close", &[1])
                .call("fd_close", &[2])
                .call("fd_close", &[3]),
            exited(0),
            Reused,
        ),
        (
            "output flood",
            flood.clone().call("fd_write", &[1, vectors, 1024, 0x9000]),
            limit(Limit::Output),
            Reused,
        ),
        (
            "error flood",
            flood.repeat(1 << 30).call("fd_write", &[2, vectors, 1024, 0x9000]),
            limit(Limit::Output),
            Reused,
        ),
        (
            "full disk",
            create
                .clone()
                .call("fd_write", &[4, same, 1024, 0x9000])
                .call("fd_write", &[4, same, 1, 0x9000]),
            errno(Errno::Nospc),
            Reused,
        ),
        (
            "sparse file",
            create.clone().call("fd_filestat_set_size", &[4, 1 << 50]),
            errno(Errno::Nospc),
            Reused,
        ),
        (
            "sparse write",
            create.clone().call("fd_pwrite", &[4, same, 1, 1 << 50, 0x9000]),
            errno(Errno::Nospc),
            Reused,
        ),
        (
            "truncating without end",
            create.repeat(1 << 30).call("fd_filestat_set_size", &[4, QUOTA.bytes]),
            limit(Limit::Wall),
            Reused,
        ),
        ("zeros", zero.call("fd_read", &[4, all_memory, 1024, 0x9000]), exited(0), Reused),
        (
            "listing into nothing",
            program().repeat(100_000).call("fd_readdir", &[3, 0x8000, 0, 0, 0x9000]),
            exited(0),
            Reused,
        ),
        ("sockets", program().call("sock_send", &[3, 0, 0, 0, 0]), errno(Errno::Notsup), Reused),
    ];
    let bench = TestBed::new(None);
    for (what, program, expected, then) in programs {
        let mut slot = bench.slot().await;
        let wall = if expected == limit(Limit::Wall) { WALL } else { MAX_WALL };
        let ended = bench.run(&mut slot, &program, wall).await;
        assert_eq!(ended.outcome, expected, "{what}");
        assert!(ended.wall < wall + MAX_DELAY, "{what}: {:?}", ended.wall);
        let turn = std::mem::take(&mut slot.store.data_mut().turn);
        for output in [turn.stdout, turn.stderr] {
            assert!(output.finish().bytes.len() as u64 <= OUTPUT + 100, "{what}");
        }
        let reused = bench.is_reused(slot).await;
        assert_eq!(if reused { Reused } else { Dropped }, then, "{what}");
    }
    if inside() {
        let peak = peak_memory();
        assert!(peak < 256 * MIB, "{} MiB", peak / MIB);
    }
}

/// Returns the peak memory of this process in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn programs_take_bounded_memory() {
    let name = "memory::tests::hostile::programs_end_as_they_should_and_leave_nothing";
    assert_passed(&rerun(name, &[], &[]).unwrap());
}

#[tokio::test]
async fn programs_are_stopped_in_time() {
    let bench = TestBed::new(None);
    let mut sleep = program();
    let hour =
        sleep.data(&[&[0u8; 24][..], &3_600_000_000_000u64.to_le_bytes(), &[0; 16]].concat());
    let sleep = sleep.call("poll_oneoff", &[hour, 0x8000, 1, 0x9000]);
    let random =
        program().repeat(1 << 30).call("random_get", &[SOURCE + MIB, BYTES - SOURCE - MIB]);
    let fill = program().repeat(1 << 30).fill(SOURCE + MIB, 1, BYTES - SOURCE - MIB);
    let calls = program().repeat(1 << 30).call("sched_yield", &[]);
    for program in [program().spin(), sleep, random, fill, calls] {
        let mut slot = bench.slot().await;
        let bounds = TurnBounds { wall: MAX_WALL, cpu: None, cancel: Default::default() };
        let cancel = bounds.cancel.clone();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            cancel.cancel();
            Instant::now()
        };
        let (ended, stopped) = tokio::join!(bench.run_within(&mut slot, &program, &bounds), stop);
        assert_eq!(ended.outcome, Outcome::Cancelled);
        assert!(stopped.elapsed() < MAX_DELAY);
        assert!(bench.is_reused(slot).await);
    }
    let mut slot = bench.slot().await;
    let bounds = TurnBounds {
        wall: MAX_WALL,
        cpu: Some(Duration::from_millis(30)),
        cancel: Default::default(),
    };
    let ended = bench.run_within(&mut slot, &program().spin(), &bounds).await;
    assert_eq!(ended.outcome, limit(Limit::Cpu));
    assert!(ended.cpu < Duration::from_millis(30) + MAX_DELAY, "{:?}", ended.cpu);
    assert!(bench.is_reused(slot).await);
}

#[tokio::test]
async fn a_dropped_future_stops_its_program() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    let run = program().fill(MIB, 7, MIB).spin();
    assert!(tokio::time::timeout(WALL, bench.run(&mut slot, &run, MAX_WALL)).await.is_err());
    assert_eq!(slot.bytes()[MIB as usize], 7);
    assert!(bench.is_reused(slot).await);
}

#[tokio::test]
async fn a_broken_allocator_is_the_programs_own_crash() {
    let bench = TestBed::new(None);
    for (address, expected) in
        [(0u32, signaled(6)), (u32::MAX - 1, signaled(11)), (BYTES as u32 - 10, signaled(11))]
    {
        let mut slot = bench.slot().await;
        let mut program = program();
        let word = program.data(&address.to_le_bytes());
        let ended = bench.run(&mut slot, &program.copy(ALLOCATOR, word, 4), MAX_WALL).await;
        assert!(ended.alive);
        let ended = bench.run(&mut slot, &Program::default(), MAX_WALL).await;
        assert_eq!((ended.outcome, ended.alive), (expected, false), "{address}");
        assert!(bench.is_reused(slot).await);
    }
}

/// Addresses in the memory of the programs below.
const OUT: u64 = 0x8000;
const OUT_2: u64 = 0x9000;

/// Returns a successful call of each kind, with the indices of its arguments that are pointers.
/// File 4 is open.
fn good_calls(program: &mut Program) -> Vec<(&'static str, Vec<u64>, &'static [usize])> {
    let file = program.data(b"tmp/file");
    let link = program.data(b"link");
    let directory = program.data(b"directory");
    let new = program.data(b"new");
    let vector = program.words(&[0x7000, 8]);
    let subscription = program.data(&[0; 48]);
    vec![
        ("args_sizes_get", vec![OUT, OUT_2], &[0, 1]),
        ("clock_res_get", vec![0, OUT], &[1]),
        ("clock_time_get", vec![1, 0, OUT], &[2]),
        ("environ_sizes_get", vec![OUT, OUT_2], &[0, 1]),
        ("fd_advise", vec![4, 0, 0, 0], &[]),
        ("fd_allocate", vec![4, 0, 10], &[]),
        ("fd_close", vec![4], &[]),
        ("fd_datasync", vec![4], &[]),
        ("fd_fdstat_get", vec![4, OUT], &[1]),
        ("fd_fdstat_set_flags", vec![4, 0], &[]),
        ("fd_fdstat_set_rights", vec![4, 0, 0], &[]),
        ("fd_filestat_get", vec![4, OUT], &[1]),
        ("fd_filestat_set_size", vec![4, 5], &[]),
        ("fd_filestat_set_times", vec![4, 0, 0, 0], &[]),
        ("fd_pread", vec![4, vector, 1, 0, OUT], &[1, 4]),
        ("fd_prestat_dir_name", vec![3, OUT, 1], &[1]),
        ("fd_prestat_get", vec![3, OUT], &[1]),
        ("fd_pwrite", vec![4, vector, 1, 0, OUT], &[1, 4]),
        ("fd_read", vec![4, vector, 1, OUT], &[1, 3]),
        ("fd_readdir", vec![3, OUT, 100, 0, OUT_2], &[1, 4]),
        ("fd_renumber", vec![4, 4], &[]),
        ("fd_seek", vec![4, 0, 0, OUT], &[3]),
        ("fd_sync", vec![4], &[]),
        ("fd_tell", vec![4, OUT], &[1]),
        ("fd_write", vec![4, vector, 1, OUT], &[1, 3]),
        ("path_create_directory", vec![3, new, 3], &[1]),
        ("path_filestat_get", vec![3, 0, file, 8, OUT], &[2, 4]),
        ("path_filestat_set_times", vec![3, 0, file, 8, 0, 0, 0], &[2]),
        ("path_open", vec![3, 0, file, 8, 0, 2, 0, 0, OUT], &[2, 8]),
        ("path_readlink", vec![3, link, 4, OUT, 100, OUT_2], &[1, 3, 5]),
        ("path_remove_directory", vec![3, directory, 9], &[1]),
        ("path_rename", vec![3, file, 8, 3, new, 3], &[1, 4]),
        ("path_symlink", vec![file, 8, 3, new, 3], &[0, 3]),
        ("path_unlink_file", vec![3, file, 8], &[1]),
        ("poll_oneoff", vec![subscription, OUT, 1, OUT_2], &[0, 1, 3]),
        ("random_get", vec![OUT, 8], &[0]),
        ("sched_yield", vec![], &[]),
    ]
}

#[tokio::test]
async fn wrong_pointers_are_faults() {
    let bench = TestBed::new(None);
    let mut program = Program::default();
    let calls = good_calls(&mut program);
    let file = program.data(b"tmp/file");
    let program = program.call("path_open", &[3, 0, file, 8, 0, 1 << 1 | 1 << 6, 0, 0, OUT]);
    let run = async |name: &str, arguments: &[u64]| {
        let mut slot = bench.slot().await;
        let ended = bench.run(&mut slot, &program.clone().call(name, arguments), MAX_WALL).await;
        assert!(bench.is_reused(slot).await);
        ended.outcome
    };
    for (name, arguments, pointers) in calls {
        assert_eq!(run(name, &arguments).await, exited(0), "{name}");
        for (pointer, wrong) in
            pointers.iter().flat_map(|p| [BYTES, 1 << 31, (1 << 32) - 8].map(|wrong| (*p, wrong)))
        {
            let mut arguments = arguments.clone();
            arguments[pointer] = wrong;
            let outcome = run(name, &arguments).await;
            assert_eq!(
                outcome,
                exited(Errno::Fault as i32),
                "{name}, argument {pointer}: {wrong:#x}"
            );
        }
    }
}

#[test]
fn no_call_harms_the_host() {
    const PROGRAMS: usize = 1500;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = TestBed::new(None);
    let mut prefix = Program::default();
    let good: Vec<Vec<u64>> =
        good_calls(&mut prefix).into_iter().map(|(_, arguments, _)| arguments).collect();
    let mut words: Vec<u64> = good.into_iter().flatten().collect();
    words.extend([0, 1, 2, 3, 4, 5, 7, 8, 24, 100, 1023, 1024, 1025, 4096, 65_535]);
    words.extend([BYTES - 64, BYTES - 8, BYTES - 4, BYTES - 1, BYTES, BYTES + 1]);
    words.extend([
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 48,
        (1 << 32) - 8,
        (1 << 32) - 4,
        (1 << 32) - 1,
    ]);
    words.extend([1 << 32, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX]);
    // Lists of vectors and subscriptions that overlap, are too long, or span all memory.
    words.push(prefix.words(&[
        0,
        BYTES,
        BYTES - 8,
        8,
        SOURCE,
        65_536,
        0,
        0,
        BYTES,
        0,
        u32::MAX.into(),
        u32::MAX.into(),
    ]));
    words.push(prefix.words(&(0..2048).map(|n| n * 16 % BYTES).collect::<Vec<_>>()));
    for path in ["", ".", "..", "/", "../../etc/passwd", "tmp/../tmp//file/", "a/b/c", "zero"] {
        words.push(prefix.data(path.as_bytes()));
    }
    let call = (0..CALLS.len(), proptest::collection::vec(sample::select(words), 9));
    let calls = proptest::collection::vec(
        call.prop_filter("an end", |(call, _)| CALLS[*call].0 != "proc_exit"),
        1..40,
    );
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let mut reused = 0;
    for _ in 0..PROGRAMS {
        let calls = calls.new_tree(&mut runner).unwrap().current();
        let mut program = prefix.clone();
        for (call, arguments) in &calls {
            let (name, parameters) = CALLS[*call];
            program = program.call(name, &arguments[..parameters.len()]);
        }
        runtime.block_on(async {
            let mut slot = bench.slot().await;
            let wall = Duration::from_millis(50);
            let ended = bench.run(&mut slot, &program, wall).await;
            assert!(ended.wall < wall + MAX_DELAY, "{calls:?}: {:?}", ended.wall);
            let expected = matches!(
                ended.outcome,
                Outcome::Exited { .. }
                    | Outcome::Signaled { .. }
                    | Outcome::LimitExceeded { limit: Limit::Wall | Limit::Output }
            );
            assert!(expected, "{calls:?}: {:?}", ended.outcome);
            reused += usize::from(bench.is_reused(slot).await);
        });
    }
    // No call changes the globals or the size of the memory.
    assert_eq!(reused, PROGRAMS);
}
