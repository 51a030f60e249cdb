//! A slot is reset to its image after any writes, by copying pages and by mapping it anew.

use std::{cell::RefCell, collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use proptest::{prelude::*, sample, test_runner::TestRunner};

use super::guest::{BYTES, DATA, Program, SOURCE, TestBed, image};
use crate::{
    memory::{Slot, Template, write_sparse},
    sys::{self, PAGE, WrittenPages},
};

const WALL: Duration = Duration::from_secs(10);

/// A write of the guest: its address, its length, and true for zeros.
type Write = (u64, u64, bool);

/// Writes of all sizes at all addresses except the first page, which has the guest's own data.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let page = PAGE as u64;
    let len = prop_oneof![
        4 => 1..64u64,
        4 => sample::select(vec![1, page - 1, page, page + 1, 2 * page]),
        2 => 1..page * 64,
        // More than a reset copies back.
        1 => 9 << 20..12u64 << 20,
    ];
    let aligned = (1..BYTES / page).prop_map(move |at| at * page);
    let at =
        prop_oneof![page..BYTES, aligned.clone(), aligned.prop_map(move |at| at - 1 + page % 2)];
    let write = (at, len, any::<bool>()).prop_filter("not its own source", move |(at, len, _)| {
        at + len <= BYTES && (*at >= SOURCE + 65_536 || at + len <= SOURCE)
    });
    proptest::collection::vec(write, 0..40)
}

fn program(writes: &[Write]) -> Program {
    writes.iter().fold(Program::default(), |program, (at, len, zero)| {
        program.fill(*at, if *zero { 0 } else { 0xA5 }, *len)
    })
}

/// Returns the pages that a program writes, with those of its source.
fn pages(program: &Program, writes: &[Write]) -> BTreeSet<usize> {
    let source = (SOURCE, program.source().len() as u64);
    let ranges = writes.iter().map(|(at, len, _)| (*at, *len)).chain([source]);
    ranges.flat_map(|(at, len)| at as usize / PAGE..=(at + len - 1) as usize / PAGE).collect()
}

fn pages_of(ranges: &[Range<usize>]) -> BTreeSet<usize> {
    assert!(ranges.iter().all(|range| range.start % PAGE == 0 && range.end % PAGE == 0));
    ranges.iter().flat_map(|range| range.start / PAGE..range.end / PAGE).collect()
}

#[test]
fn any_writes_are_found_and_undone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = TestBed::new(None);
    let can_list = sys::can_list_written_pages();
    if !can_list {
        println!(
            "skipped in part: this kernel cannot list written pages, so only mapping anew is tested"
        );
    }
    let slot = RefCell::new(runtime.block_on(bench.slot()));
    let resident = RefCell::new(BTreeSet::new());
    let config =
        ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(writes(), any::<bool>()), |(writes, knowing)| {
            let slot = &mut *slot.borrow_mut();
            let program = program(&writes);
            let ended = runtime.block_on(bench.run(slot, &program, WALL));
            assert!(ended.outcome.is_success(), "{:?}", ended.outcome);
            // Pages that were copied back stay private to the slot, and count as written from then
            // on.
            resident.borrow_mut().extend(pages(&program, &writes));
            let written = slot.written();
            assert_eq!(
                written.as_deref().map(pages_of),
                can_list.then(|| resident.borrow().clone())
            );
            assert!(slot.reset_pages(if knowing { written } else { None }));
            assert!(
                slot.bytes() == bench.template.image.bytes(),
                "the slot differs from its image"
            );
            if !knowing || !can_list || resident.borrow().len() * PAGE > 8 << 20 {
                resident.borrow_mut().clear();
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn scattered_writes_are_found_however_many() {
    let bench = TestBed::new(None);
    let page = PAGE as u64;
    let start = SOURCE + (1 << 20);
    // Numbers around the maximum of one scan and of several, and more than a reset copies back.
    for count in [1, 400, 510, 511, 512, 513, 1023, 1024, 1025, 1500, 2500] {
        let mut slot = bench.slot().await;
        let writes: Vec<Write> = (0..count).map(|n| (start + 2 * n * page, 1, false)).collect();
        let program = program(&writes);
        assert!(bench.run(&mut slot, &program, WALL).await.alive);
        if let Some(written) = slot.written() {
            assert!(pages_of(&written).is_superset(&pages(&program, &writes)), "{count}");
            let memory = slot.store.data().memory.unwrap();
            assert!(matches!(
                sys::written_pages(&slot.store, memory, written.len()),
                WrittenPages::Ranges(_)
            ));
            assert!(matches!(
                sys::written_pages(&slot.store, memory, written.len() - 1),
                WrittenPages::Unknown
            ));
        }
        assert!(bench.is_reused(slot).await, "{count}");
    }
}

#[tokio::test]
async fn reading_is_not_writing() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    let mut program = Program::default();
    for page in 0..BYTES / PAGE as u64 {
        program = program.load(page * PAGE as u64);
    }
    // Only the guest's source, with the instructions for these reads, is written.
    let ended = bench.run(&mut slot, &program, WALL).await;
    assert!(ended.alive);
    if let Some(written) = slot.written() {
        assert_eq!(pages_of(&written), pages(&program, &[]));
    }
    let ended = bench.run(&mut slot, &Program::default().load(DATA.0), WALL).await;
    assert_eq!(
        ended.outcome,
        cellblock_exec::Outcome::Exited { code: i32::from(DATA.1.as_bytes()[0]) }
    );
}

#[tokio::test]
async fn a_page_that_was_swapped_out_is_found() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    let writes: Vec<Write> = (1..200).map(|n| (SOURCE + n * 100_000, 10, false)).collect();
    let program = program(&writes);
    assert!(bench.run(&mut slot, &program, WALL).await.alive);
    let memory = slot.store.data().memory.unwrap();
    sys::page_out(&slot.store, memory).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if status.lines().any(|line| line.starts_with("VmSwap:") && line.ends_with(" 0 kB")) {
        println!("skipped: this machine has no swap, so a written page never leaves memory");
        return;
    }
    if let Some(written) = slot.written() {
        assert_eq!(pages_of(&written), pages(&program, &writes));
    }
    assert!(bench.is_reused(slot).await);
}

#[test]
fn slots_in_many_threads_do_not_disturb_each_other() {
    let bench = Arc::new(TestBed::new(None));
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let bench = bench.clone();
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for round in 0..60u64 {
                    runtime.block_on(async {
                        let mut slot = bench.slot().await;
                        assert!(slot.bytes() == bench.template.image.bytes());
                        let writes: Vec<Write> = (0..40)
                            .map(|n| {
                                (
                                    SOURCE
                                        + 65_536
                                        + (thread * 7919 + round * 104_729 + n * 65_537)
                                            % (BYTES / 2),
                                    5000,
                                    false,
                                )
                            })
                            .collect();
                        assert!(bench.run(&mut slot, &program(&writes), WALL).await.alive);
                        bench.template.release(slot);
                    });
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn a_pool_keeps_so_many_and_only_its_own() {
    let bench = TestBed::new(None);
    let mut slots = Vec::new();
    for _ in 0..4 {
        slots.push(bench.slot().await);
    }
    slots.into_iter().for_each(|slot| bench.template.release(slot));
    let mut used = Vec::new();
    for _ in 0..3 {
        let slot = bench.slot().await;
        used.push(slot.was_used);
    }
    assert_eq!(used, [true, true, false], "it keeps two");

    // A slot with another image does not return to the pool.
    let mut slot = bench.slot().await;
    assert!(bench.run(&mut slot, &Program::default().store(1 << 20, 7), WALL).await.alive);
    slot.rebase(Arc::new(image_of(&slot))).unwrap();
    bench.template.release(slot);
    assert!(!bench.slot().await.was_used);
}

/// Returns an image of the slot's present state.
fn image_of(slot: &Slot) -> crate::memory::MemoryImage {
    image(
        slot.bytes(),
        slot.bytes().len() as u64,
        slot.image.globals.to_vec(),
        slot.store.data().fs.clone(),
    )
}

#[tokio::test]
async fn a_fork_has_what_its_original_has() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    assert!(bench.run(&mut slot, &Program::default().fill(1 << 20, 7, 1 << 20), WALL).await.alive);
    // By copying the written pages …
    if let Some(written) = slot.written() {
        let mut fork = bench.slot().await;
        fork.copy_from(&slot, &written);
        assert!(fork.bytes() == slot.bytes());
        assert!(bench.run(&mut fork, &Program::default().fill(1 << 20, 8, 10), WALL).await.alive);
        assert_eq!((fork.bytes()[1 << 20], slot.bytes()[1 << 20]), (8, 7));
        assert!(bench.is_reused(fork).await);
    }
    // … and through an image of its own.
    let image = Arc::new(image_of(&slot));
    slot.rebase(image.clone()).unwrap();
    let own = Template::new(bench.template.guest.clone(), image.clone(), 1);
    let mut fork = own.acquire().await.unwrap();
    assert!(fork.bytes() == slot.bytes() && fork.bytes() == image.bytes());
    assert!(bench.run(&mut fork, &Program::default().fill(1 << 20, 9, 1 << 20), WALL).await.alive);
    assert!(slot.bytes() == image.bytes());
    own.release(fork);
    assert!(own.acquire().await.unwrap().bytes() == image.bytes());
}

#[tokio::test]
async fn a_session_that_grew_is_an_image_that_can_be_used_again() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    let grow = Program::default().grow(3).fill(BYTES + 10, 5, 3 * 65_536 - 10);
    assert!(bench.run(&mut slot, &grow, WALL).await.alive);
    assert!(slot.written().is_none());
    let image = Arc::new(image_of(&slot));
    assert_eq!(image.bytes().len() as u64, BYTES + 3 * 65_536);
    let own = Template::new(bench.template.guest.clone(), image.clone(), 1);
    for expected in [false, true] {
        let mut copy = own.acquire().await.unwrap();
        assert_eq!(copy.was_used, expected);
        assert!(copy.bytes() == image.bytes());
        assert!(bench.run(&mut copy, &Program::default().fill(BYTES, 6, 65_536), WALL).await.alive);
        own.release(copy);
    }
}

#[tokio::test]
async fn files_and_descriptors_are_reset_too() {
    let bench = TestBed::new(None);
    let frozen = |slot: &Slot| postcard::to_allocvec(&slot.store.data().fs).unwrap();
    let slot = bench.slot().await;
    let fresh = frozen(&slot);
    bench.template.release(slot);
    let mut slot = bench.slot().await;
    let mut program = Program::default();
    let file = program.data(b"tmp/file");
    let open = [3, 0, file, 8, 8, 1 << 6, 0, 0, 0x8000];
    let program = program
        .call("path_open", &open)
        .call("path_unlink_file", &[3, file, 8])
        .call("fd_close", &[3]);
    assert!(bench.run(&mut slot, &program, WALL).await.outcome.is_success());
    assert!(frozen(&slot) != fresh);
    bench.template.release(slot);
    let slot = bench.slot().await;
    assert!(slot.was_used && frozen(&slot) == fresh);
}

#[test]
fn an_image_file_has_the_memory_and_holes_for_zeros() {
    use std::os::unix::fs::MetadataExt;
    let pages = proptest::collection::vec((any::<bool>(), 0..PAGE, 1..=255u8), 0..60);
    TestRunner::new(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
    .run(&pages, |pages| {
        let mut memory = vec![0; pages.len() * PAGE];
        for (index, (_, at, byte)) in
            pages.iter().enumerate().filter(|(_, (has_content, ..))| *has_content)
        {
            memory[index * PAGE + at] = *byte;
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write_sparse(file.as_file_mut(), &memory).unwrap();
        assert!(std::fs::read(file.path()).unwrap() == memory);
        let full = pages.iter().filter(|(has_content, ..)| *has_content).count();
        assert!(file.as_file().metadata().unwrap().blocks() * 512 <= (full * PAGE) as u64 + 65_536);
        Ok(())
    })
    .unwrap();
}

#[tokio::test]
async fn an_image_of_another_length_is_refused() {
    let bench = TestBed::new(None);
    let mut slot = bench.slot().await;
    let fs = slot.store.data().fs.clone();
    for bytes in [BYTES - 65_536, BYTES + 65_536] {
        let other = image(&[], bytes, slot.image.globals.to_vec(), fs.clone());
        assert!(slot.rebase(Arc::new(other)).is_err());
    }
    assert!(slot.bytes() == bench.template.image.bytes());
    // A memory cannot be shorter than the module defines.
    let short = image(&[], BYTES - 65_536, slot.image.globals.to_vec(), fs);
    assert!(Slot::new(&bench.template.guest, Arc::new(short)).await.is_err());
}
