//! Tests of the file system through its WASI calls.

mod artifacts;
mod differential;
mod files;
mod layers;
mod operations;
mod properties;

use files::{content, make};

use crate::{
    fs::{
        Device, Errno, Fs, Quota,
        abi::{FDFLAG_APPEND, oflags, rights},
        descriptors::ROOT,
        path::{MAX_NAME, MAX_PATH},
    },
    oracles::files::guest::{BUFFER, DEVICE, DIRECTORY, FIRST_PATH, Guest, OUT, OpenHow, VECTOR},
};

fn guest() -> Guest {
    Guest::new(Fs::new())
}

#[test]
fn names_and_paths_have_limits() {
    let mut guest = guest();
    let longest = "n".repeat(MAX_NAME);
    let too_long = "n".repeat(MAX_NAME + 1);
    make(&mut guest, &longest, b"x");
    assert_eq!(content(&mut guest, &longest), Ok(b"x".to_vec()));
    assert_eq!(guest.open(ROOT, &too_long, OpenHow::CREATE), Err(Errno::Nametoolong));
    assert_eq!(guest.mkdir(ROOT, &too_long), Err(Errno::Nametoolong));
    assert_eq!(guest.symlink("a", ROOT, &too_long), Err(Errno::Nametoolong));
    assert_eq!(guest.rename((ROOT, &longest), (ROOT, &too_long)), Err(Errno::Nametoolong));
    assert_eq!(guest.stat_path(ROOT, &format!("{too_long}/.."), true), Err(Errno::Nametoolong));

    let dots = |len: usize| "./".repeat(len / 2) + &"/".repeat(len % 2);
    assert_eq!(guest.stat_path(ROOT, &dots(MAX_PATH), true).unwrap().kind, DIRECTORY);
    assert_eq!(guest.stat_path(ROOT, &dots(MAX_PATH + 1), true), Err(Errno::Nametoolong));
    assert_eq!(guest.symlink(&dots(MAX_PATH + 1), ROOT, "link"), Err(Errno::Nametoolong));
    assert_eq!(guest.symlink(&dots(MAX_PATH), ROOT, "link"), Ok(()));
    assert_eq!(guest.stat_path(ROOT, "link", true).unwrap().kind, DIRECTORY);
}

#[test]
fn paths_are_text() {
    let mut guest = guest();
    for (path, expected) in
        [(&b"a\0b"[..], Errno::Inval), (b"\xff", Errno::Ilseq), (b"", Errno::Noent)]
    {
        guest.bytes()[FIRST_PATH as usize..][..path.len()].copy_from_slice(path);
        let arguments = [ROOT.into(), FIRST_PATH.into(), path.len() as u64];
        assert_eq!(guest.call("path_create_directory", &arguments), Err(expected), "{path:?}");
    }
    guest.mkdir(ROOT, "größe 📈").unwrap();
    assert_eq!(guest.list(ROOT, 100).unwrap()[2].name, "größe 📈");
}

#[test]
fn links_are_followed_forty_times() {
    let mut guest = guest();
    make(&mut guest, "link-0", b"end");
    for n in 0..41 {
        guest.symlink(&format!("link-{n}"), ROOT, &format!("link-{}", n + 1)).unwrap();
    }
    assert_eq!(content(&mut guest, "link-40"), Ok(b"end".to_vec()));
    assert_eq!(content(&mut guest, "link-41"), Err(Errno::Loop));
    guest.symlink("b", ROOT, "a").unwrap();
    guest.symlink("a", ROOT, "b").unwrap();
    guest.symlink("self/self/self", ROOT, "self").unwrap();
    for path in ["a", "b/x", "self", "self/"] {
        assert_eq!(content(&mut guest, path), Err(Errno::Loop), "{path}");
        assert_eq!(guest.stat_path(ROOT, path, true), Err(Errno::Loop), "{path}");
    }
    // A loop can be removed.
    guest.unlink(ROOT, "self").unwrap();
}

#[test]
fn a_walk_takes_bounded_time_whatever_the_links() {
    let mut guest = guest();
    guest.mkdir(ROOT, "d").unwrap();
    // Each link leads through the one before it as often as the length of a path allows.
    guest.symlink("d", ROOT, "link-0").unwrap();
    for n in 0..20 {
        let target = format!("link-{n}/../").repeat(250) + "d";
        guest.symlink(&target, ROOT, &format!("link-{}", n + 1)).unwrap();
    }
    let started = std::time::Instant::now();
    assert_eq!(guest.stat_path(ROOT, "link-20", true), Err(Errno::Loop));
    assert!(started.elapsed().as_millis() < 100, "{:?}", started.elapsed());
}

#[test]
fn sealed_directories_keep_what_is_in_them() {
    let mut fs = Fs::new();
    fs.make_directories("/sealed/open").unwrap();
    fs.put_file("/sealed/file", Default::default()).unwrap();
    fs.make_link("/sealed/link", "/sealed/open").unwrap();
    fs.seal("/sealed").unwrap();
    let mut guest = Guest::new(fs);
    make(&mut guest, "outside", b"");
    guest.mkdir(ROOT, "directory").unwrap();
    let rofs = Err(Errno::Rofs);
    assert_eq!(guest.open(ROOT, "sealed/new", OpenHow::CREATE), Err(Errno::Rofs));
    assert_eq!(guest.mkdir(ROOT, "sealed/new"), rofs);
    assert_eq!(guest.symlink("x", ROOT, "sealed/new"), rofs);
    for there in ["sealed", "sealed/file", "sealed/link", "sealed/open"] {
        assert_eq!(guest.mkdir(ROOT, there), Err(Errno::Exist), "{there}");
    }
    assert_eq!(guest.unlink(ROOT, "sealed/file"), rofs);
    assert_eq!(guest.unlink(ROOT, "sealed/link"), rofs);
    assert_eq!(guest.rmdir(ROOT, "sealed/open"), rofs);
    assert_eq!(guest.rmdir(ROOT, "sealed"), rofs);
    assert_eq!(guest.rename((ROOT, "sealed"), (ROOT, "moved")), rofs);
    assert_eq!(guest.rename((ROOT, "directory"), (ROOT, "sealed")), rofs);
    assert_eq!(guest.rename((ROOT, "sealed/file"), (ROOT, "moved")), rofs);
    assert_eq!(guest.rename((ROOT, "outside"), (ROOT, "sealed/file")), rofs);
    // The control: a directory that is not sealed can be changed, also by a path through the sealed
    // one.
    make(&mut guest, "sealed/link/new", b"x");
    assert_eq!(content(&mut guest, "/sealed/open/new"), Ok(b"x".to_vec()));
    guest.unlink(ROOT, "sealed/open/new").unwrap();
    guest.fs().audit();
}

#[test]
fn a_removed_file_lives_until_it_is_closed() {
    let mut guest = guest();
    let fd = guest.open(ROOT, "a", OpenHow::CREATE).unwrap();
    guest.write(fd, b"hello", None).unwrap();
    guest.unlink(ROOT, "a").unwrap();
    assert_eq!(content(&mut guest, "a"), Err(Errno::Noent));
    make(&mut guest, "a", b"another");
    guest.write(fd, b" world", None).unwrap();
    assert_eq!(guest.read(fd, 100, Some(0)), Ok(b"hello world".to_vec()));
    assert_eq!(guest.fs().used, Quota { bytes: 11 + 7, files: 2 });
    guest.close(fd).unwrap();
    assert_eq!(guest.fs().used, Quota { bytes: 7, files: 1 });
    assert_eq!(guest.read(fd, 100, Some(0)), Err(Errno::Badf));
}

#[test]
fn nothing_gets_into_a_removed_directory() {
    let mut guest = guest();
    guest.mkdir(ROOT, "a").unwrap();
    guest.mkdir(ROOT, "a/d").unwrap();
    let removed = guest.open(ROOT, "a/d", OpenHow::READ).unwrap();
    guest.rmdir(ROOT, "a/d").unwrap();
    guest.rmdir(ROOT, "a").unwrap();
    make(&mut guest, "file", b"");
    assert_eq!(guest.mkdir(removed, "x"), Err(Errno::Noent));
    assert_eq!(guest.open(removed, "x", OpenHow::CREATE), Err(Errno::Noent));
    assert_eq!(guest.symlink("x", removed, "x"), Err(Errno::Noent));
    assert_eq!(guest.rename((ROOT, "file"), (removed, "x")), Err(Errno::Noent));
    assert_eq!(guest.stat_path(removed, "..", true), Err(Errno::Noent));
    assert_eq!(guest.stat_path(removed, ".", true).unwrap().kind, DIRECTORY);
    assert_eq!(guest.list(removed, 100), Ok(vec![]));
    // A directory that has the number of the removed one's parent must not become both its child
    // and its parent: a walk up would never end.
    guest.mkdir(ROOT, "b").unwrap();
    guest.mkdir(ROOT, "c").unwrap();
    assert_eq!(guest.rename((ROOT, "b"), (removed, "b")), Err(Errno::Noent));
    assert_eq!(guest.rename((ROOT, "b"), (ROOT, "c/b")), Ok(()));
    guest.close(removed).unwrap();
    guest.fs().audit();
}

#[test]
fn a_listing_in_pieces_skips_no_survivor() {
    for buffer in [32, 60, 100, 1000] {
        let mut guest = guest();
        for n in 0..50 {
            make(&mut guest, &format!("file-{n}"), b"");
        }
        let root = guest.open(ROOT, "/", OpenHow::READ).unwrap();
        let (mut seen, mut cookie, mut removed) = (Vec::new(), 0, Vec::new());
        loop {
            let (some, more) = guest.list_some(root, cookie, buffer).unwrap();
            for entry in &some {
                cookie = entry.next;
                seen.push(entry.name.clone());
            }
            // Removes an entry that was listed, and one that perhaps was not.
            let last = seen.last().filter(|name| name.starts_with("file")).cloned();
            let victims = [last, Some(format!("file-{}", 49 - removed.len() % 50))];
            for victim in victims.into_iter().flatten() {
                if guest.unlink(ROOT, &victim).is_ok() {
                    removed.push(victim);
                }
            }
            if !more {
                break;
            }
        }
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len(), "repeated: {seen:?}");
        for n in 0..50 {
            let name = format!("file-{n}");
            assert!(seen.contains(&name) || removed.contains(&name), "skipped: {name}");
        }
        assert!(seen[..2] == [".", ".."] && removed.len() > 2);
    }
}

#[test]
fn listings_are_of_directories() {
    let mut guest = guest();
    make(&mut guest, "file", b"");
    let file = guest.open(ROOT, "file", OpenHow::READ).unwrap();
    for (len, cookie) in [(0, 0), (10, 0), (24, 0), (100, 0), (100, 1), (100, u64::MAX)] {
        assert_eq!(guest.list_some(file, cookie, len), Err(Errno::Notdir), "{len} {cookie}");
        assert!(guest.list_some(ROOT, cookie, len).is_ok());
    }
    assert_eq!(guest.list_some(0, 0, 100), Err(Errno::Notdir));
    assert_eq!(guest.list_some(99, 0, 100), Err(Errno::Badf));
}

#[test]
fn directories_can_be_deep() {
    const DEPTH: usize = 20_000;
    let mut guest = guest();
    let mut at = guest.open(ROOT, "/", OpenHow::READ).unwrap();
    for _ in 0..DEPTH {
        guest.mkdir(at, "d").unwrap();
        let next = guest.open(at, "d", OpenHow::READ).unwrap();
        guest.close(at).unwrap();
        at = next;
    }
    guest.mkdir(at, "bottom").unwrap();
    assert_eq!(guest.rename((ROOT, "d"), (at, "bottom")), Err(Errno::Inval));
    guest.rename((at, "bottom"), (ROOT, "top")).unwrap();
    let copy = guest.fs().clone();
    copy.audit();
    let frozen = postcard::to_allocvec(&copy).unwrap();
    postcard::from_bytes::<Fs>(&frozen).unwrap().audit();
    // From the bottom, as a guest has to remove it.
    for _ in 0..DEPTH {
        let above = guest.open(at, "..", OpenHow::READ).unwrap();
        guest.close(at).unwrap();
        guest.rmdir(above, "d").unwrap();
        at = above;
    }
    guest.rmdir(ROOT, "top").unwrap();
    assert_eq!(guest.fs().used, Quota::default());
}

#[test]
fn descriptors_are_limited_and_a_call_that_gets_none_does_nothing() {
    let mut guest = guest();
    make(&mut guest, "precious", b"content");
    let mut last = ROOT;
    while let Ok(fd) = guest.open(ROOT, "precious", OpenHow::READ) {
        last = fd;
    }
    assert_eq!(last, 1023);
    let truncate = OpenHow { oflags: oflags::CREATE | oflags::TRUNCATE, ..OpenHow::WRITE };
    assert_eq!(guest.open(ROOT, "precious", truncate), Err(Errno::Mfile));
    assert_eq!(guest.open(ROOT, "new", OpenHow::CREATE), Err(Errno::Mfile));
    assert_eq!(guest.read(last, 100, None), Ok(b"content".to_vec()));
    assert_eq!(guest.stat_path(ROOT, "new", true), Err(Errno::Noent));
    // A new descriptor gets the number that is free again.
    guest.close(500).unwrap();
    assert_eq!(guest.open(ROOT, "new", OpenHow::CREATE), Ok(500));
    guest.fs().audit();
}

#[test]
fn descriptors_are_moved_and_closed() {
    let mut guest = guest();
    let a = guest.open(ROOT, "a", OpenHow::CREATE).unwrap();
    let b = guest.open(ROOT, "b", OpenHow::CREATE).unwrap();
    guest.write(a, b"aaa", None).unwrap();
    guest.unlink(ROOT, "b").unwrap();
    assert_eq!(guest.call("fd_renumber", &[a.into(), a.into()]), Ok(()));
    assert_eq!(guest.call("fd_renumber", &[a.into(), 99]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[99, a.into()]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[a.into(), b.into()]), Ok(()));
    // This closes what was open as `b`, and it was the last use of that file.
    guest.fs().audit();
    assert_eq!(guest.fs().used.files, 1);
    assert_eq!(guest.close(a), Err(Errno::Badf));
    assert_eq!(guest.read(b, 10, Some(0)), Ok(b"aaa".to_vec()));
    assert_eq!(guest.close(u32::MAX), Err(Errno::Badf));
    for fd in [0, 1, 2] {
        assert_eq!(guest.seek(fd, 0, 0), Err(Errno::Spipe));
        assert_eq!(guest.read(fd, 1, Some(0)).is_err(), guest.close(fd).is_ok());
    }
}

#[test]
fn offsets_have_limits() {
    let mut guest = guest();
    make(&mut guest, "a", b"0123456789");
    let fd = guest.open(ROOT, "a", OpenHow::WRITE).unwrap();
    assert_eq!(guest.seek(fd, i64::MAX, 0), Ok(i64::MAX as u64));
    assert_eq!(guest.seek(fd, 1, 1), Err(Errno::Inval));
    assert_eq!(guest.read(fd, 10, None), Ok(vec![]));
    assert_eq!(guest.write(fd, b"x", None), Err(Errno::Nospc));
    assert_eq!(guest.seek(fd, i64::MIN, 1), Err(Errno::Inval));
    assert_eq!(guest.seek(fd, -3, 2), Ok(7));
    assert_eq!(guest.seek(fd, 0, 7), Err(Errno::Inval));
    for at in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 62] {
        assert_eq!(guest.read(fd, 10, Some(at)), Ok(vec![]), "{at}");
        assert!(
            matches!(guest.write(fd, b"xx", Some(at)), Err(Errno::Nospc | Errno::Fbig)),
            "{at}"
        );
    }
    // A device has no end. Its offsets must not wrap around either.
    guest.fs().put_device("/zero", Device::Zero).unwrap();
    let zero = guest.open(ROOT, "zero", OpenHow::WRITE).unwrap();
    let vectors: Vec<u8> =
        [BUFFER, 8, BUFFER, 8].iter().flat_map(|word| word.to_le_bytes()).collect();
    guest.bytes()[VECTOR as usize..][..vectors.len()].copy_from_slice(&vectors);
    for call in ["fd_pread", "fd_pwrite"] {
        guest.call(call, &[zero.into(), VECTOR.into(), 2, u64::MAX, OUT.into()]).unwrap();
        assert_eq!(guest.bytes()[0], 16);
    }
    guest.seek(zero, i64::MAX, 0).unwrap();
    for call in ["fd_read", "fd_write", "fd_read"] {
        guest.call(call, &[zero.into(), VECTOR.into(), 2, OUT.into()]).unwrap();
    }
}

#[test]
fn a_quota_that_no_host_could_hold_is_a_full_disk() {
    let mut guest = guest();
    let fd = guest.open(ROOT, "a", OpenHow::CREATE).unwrap();
    guest.write(fd, b"abc", None).unwrap();
    for len in [u64::MAX, i64::MAX as u64, 1 << 62, 1 << 50] {
        assert_eq!(guest.set_len(fd, len), Err(Errno::Nospc), "{len}");
        assert_eq!(guest.call("fd_allocate", &[fd.into(), 0, len]), Err(Errno::Nospc), "{len}");
    }
    assert_eq!(guest.call("fd_allocate", &[fd.into(), u64::MAX, 1]), Err(Errno::Fbig));
    assert_eq!(content(&mut guest, "a"), Ok(b"abc".to_vec()));
    guest.fs().audit();
}

#[test]
fn a_write_that_does_not_fit_is_cut_between_vectors() {
    let mut fs = Fs::new();
    fs.set_quota(Quota { bytes: 10, files: 1 });
    let mut guest = Guest::new(fs);
    let fd = guest.open(ROOT, "a", OpenHow::CREATE).unwrap();
    let vectors: Vec<u8> =
        [BUFFER, 6, BUFFER, 6].iter().flat_map(|word| word.to_le_bytes()).collect();
    guest.bytes()[VECTOR as usize..][..vectors.len()].copy_from_slice(&vectors);
    let arguments = [fd.into(), VECTOR.into(), 2, OUT.into()];
    guest.call("fd_write", &arguments).unwrap();
    assert_eq!(guest.bytes()[0], 6);
    assert_eq!(guest.call("fd_write", &arguments), Err(Errno::Nospc));
    assert_eq!(guest.open(ROOT, "b", OpenHow::CREATE), Err(Errno::Nospc));
    // Apart from files, only links have a length that a guest chooses.
    guest.set_len(fd, 0).unwrap();
    guest.unlink(ROOT, "a").unwrap();
    guest.close(fd).unwrap();
    assert_eq!(guest.symlink("12345678901", ROOT, "link"), Err(Errno::Nospc));
    assert_eq!(guest.symlink("1234567890", ROOT, "link"), Ok(()));
}

#[test]
fn a_file_from_the_host_replaces_an_old_one_or_changes_nothing() {
    let mut fs = Fs::new();
    fs.set_quota(Quota { bytes: 10, files: 3 });
    let put = |fs: &mut Fs, path: &str, content: &[u8]| fs.put_file(path, content.to_vec().into());
    assert_eq!(put(&mut fs, "/w/a", b"12345678901"), Err(Errno::Nospc));
    assert_eq!(fs.used, Quota { bytes: 0, files: 1 }, "the directory only");
    put(&mut fs, "/w/a", b"1234567890").unwrap();
    put(&mut fs, "/w/a", b"12").unwrap();
    fs.make_link("/w/link", "a").unwrap();
    put(&mut fs, "/w/link", b"through").unwrap();
    assert_eq!(put(&mut fs, "/w", b""), Err(Errno::Isdir));
    assert_eq!(put(&mut fs, "/w/a/b", b""), Err(Errno::Notdir));
    assert_eq!(put(&mut fs, "/w/b", b""), Err(Errno::Nospc));
    let mut guest = Guest::new(fs);
    assert_eq!(content(&mut guest, "w/a"), Ok(b"through".to_vec()));
    guest.fs().audit();
}

#[test]
fn appending_is_a_property_of_the_descriptor() {
    let mut guest = guest();
    make(&mut guest, "a", b"123");
    let fd = guest.open(ROOT, "a", OpenHow { fdflags: FDFLAG_APPEND, ..OpenHow::WRITE }).unwrap();
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"4", None).unwrap();
    assert_eq!(guest.call("fd_fdstat_get", &[fd.into(), OUT.into()]), Ok(()));
    assert_eq!(guest.bytes()[2], FDFLAG_APPEND as u8);
    guest.call("fd_fdstat_set_flags", &[fd.into(), 0]).unwrap();
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"x", None).unwrap();
    assert_eq!(content(&mut guest, "a"), Ok(b"x234".to_vec()));
}

#[test]
fn what_does_not_exist_here_says_so() {
    let mut guest = guest();
    make(&mut guest, "a", b"");
    let (path, root) = (u64::from(FIRST_PATH), u64::from(ROOT));
    guest.bytes()[FIRST_PATH as usize] = b'a';
    assert_eq!(guest.call("path_link", &[root, 0, path, 1, root, path, 1]), Err(Errno::Notsup));
    // A guest starts with one open directory, its root.
    assert_eq!(guest.call("fd_prestat_get", &[root, OUT.into()]), Ok(()));
    assert_eq!(guest.bytes()[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(guest.call("fd_prestat_dir_name", &[root, OUT.into(), 1]), Ok(()));
    assert_eq!(guest.bytes()[0], b'/');
    for fd in [0, 1, 2, 4, 5, u64::from(u32::MAX)] {
        assert_eq!(guest.call("fd_prestat_get", &[fd, OUT.into()]), Err(Errno::Badf), "{fd}");
    }
    for above in ["..", "/..", "../../..", "a/../.."] {
        let expected = if above.starts_with('a') {
            Err(Errno::Notdir)
        } else {
            guest.stat_path(ROOT, "/", true)
        };
        assert_eq!(guest.stat_path(ROOT, above, true), expected, "{above}");
    }
}

#[test]
fn devices_are_not_files() {
    let mut fs = Fs::new();
    for (path, device) in
        [("/null", Device::Null), ("/zero", Device::Zero), ("/random", Device::Random)]
    {
        fs.put_device(path, device).unwrap();
    }
    let mut guest = Guest::new(fs);
    let open = |guest: &mut Guest, path| guest.open(ROOT, path, OpenHow::WRITE).unwrap();
    let (null, zero, random) =
        (open(&mut guest, "null"), open(&mut guest, "zero"), open(&mut guest, "random"));
    assert_eq!(guest.read(null, 8, None), Ok(vec![]));
    assert_eq!(guest.read(zero, 8, None), Ok(vec![0; 8]));
    let bytes = guest.read(random, 32, None).unwrap();
    assert!(bytes != guest.read(random, 32, None).unwrap() && bytes != [0; 32]);
    for fd in [null, zero, random] {
        assert_eq!(guest.stat(fd).unwrap().kind, DEVICE);
        assert_eq!(guest.write(fd, b"anything", None), Ok(8));
        assert_eq!(guest.set_len(fd, 10), Err(Errno::Inval));
    }
    let read_only =
        guest.open(ROOT, "null", OpenHow { rights: rights::FD_READ, ..OpenHow::READ }).unwrap();
    assert_eq!(guest.write(read_only, b"x", None), Err(Errno::Badf));
    guest.fs().audit();
}
