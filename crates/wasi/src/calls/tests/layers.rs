//! Read-only layers, mounted into a session's own tree.

use std::sync::Arc;

use crate::{
    fs::{Errno, Fs, Layer, Quota, abi::oflags, descriptors::ROOT},
    images::layers::LayerWriter,
    oracles::files::guest::{DIRECTORY, FILE, Guest, OpenHow},
};

/// Returns a layer with an archive that is a file and has children, and with an ordinary directory.
fn layer() -> Arc<Layer> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.zip");
    let mut writer = LayerWriter::create(&path).unwrap();
    writer.add("library.zip", b"an archive").unwrap();
    writer.add_directory("library.zip/package/data").unwrap();
    writer.add("library.zip/package/data/numbers.csv", b"1,2\n").unwrap();
    writer.add("plain/module.py", b"x = 1\n").unwrap();
    writer.add("plain/empty.py", b"").unwrap();
    writer.finish().unwrap();
    Arc::new(Layer::open(&path).unwrap())
}

fn guest() -> Guest {
    let mut fs = Fs::new();
    fs.make_directories("/lib").unwrap();
    fs.mount("/lib/layer", "layer", layer()).unwrap();
    fs.seal("/lib").unwrap();
    fs.set_quota(Quota { bytes: 1000, files: 10 });
    Guest::new(fs)
}

#[test]
fn a_layer_can_be_read() {
    let mut guest = guest();
    let cases = [
        ("lib/layer", Ok((DIRECTORY, 0))),
        ("lib/layer/", Ok((DIRECTORY, 0))),
        ("lib/layer/..", Ok((DIRECTORY, 0))),
        ("lib/layer/plain/module.py", Ok((FILE, 6))),
        ("lib/layer/plain/empty.py", Ok((FILE, 0))),
        ("lib/layer/plain/missing.py", Err(Errno::Noent)),
        ("lib/layer/plain/module.py/x", Err(Errno::Notdir)),
        ("lib/layer/plain/module.py/", Err(Errno::Notdir)),
        ("lib/layer/plain/module.py/..", Err(Errno::Notdir)),
        ("lib/layer/library.zip", Ok((FILE, 10))),
        ("lib/layer/library.zip/", Err(Errno::Notdir)),
        // Paths only pass through it.
        ("lib/layer/library.zip/package", Err(Errno::Noent)),
        ("lib/layer/library.zip/package/data", Ok((DIRECTORY, 0))),
        ("lib/layer/library.zip/package/data/numbers.csv", Ok((FILE, 4))),
        ("lib/layer/library.zip/package/data/../data/numbers.csv", Ok((FILE, 4))),
        ("lib/layer/library.zip/missing", Err(Errno::Noent)),
        ("lib/layer/../../lib/layer/plain", Ok((DIRECTORY, 0))),
    ];
    for (path, expected) in cases {
        let stat = guest.stat_path(ROOT, path, true).map(|stat| (stat.kind, stat.size));
        assert_eq!(stat, expected, "{path}");
    }
    let fd = guest.open(ROOT, "lib/layer/plain/module.py", OpenHow::READ).unwrap();
    assert_eq!(guest.read(fd, 4, None), Ok(b"x = ".to_vec()));
    assert_eq!(guest.read(fd, 4, None), Ok(b"1\n".to_vec()));
    assert_eq!(guest.read(fd, 4, None), Ok(vec![]));
    assert_eq!(guest.read(fd, 4, Some(u64::MAX)), Ok(vec![]));
    assert_eq!(guest.seek(fd, 0, 2), Ok(6));
    assert_eq!(guest.list(fd, 100), Err(Errno::Notdir));
}

#[test]
fn a_layer_is_listed() {
    let mut guest = guest();
    let fd = guest.open(ROOT, "lib/layer/plain", OpenHow::READ).unwrap();
    for buffer in [40, 1000] {
        let names: Vec<String> =
            guest.list(fd, buffer).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, [".", "..", "empty.py", "module.py"]);
    }
    let fd = guest.open(ROOT, "lib/layer", OpenHow::READ).unwrap();
    let kinds: Vec<(String, u8)> =
        guest.list(fd, 1000).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
    assert_eq!(kinds[2..], [("library.zip".to_owned(), FILE), ("plain".to_owned(), DIRECTORY)]);
}

#[test]
fn a_layer_cannot_be_changed() {
    let mut guest = guest();
    let (file, directory) = ("lib/layer/plain/module.py", "lib/layer/plain");
    assert_eq!(guest.open(ROOT, file, OpenHow::WRITE), Err(Errno::Rofs));
    assert_eq!(
        guest.open(ROOT, file, OpenHow { oflags: oflags::TRUNCATE, ..OpenHow::READ }),
        Err(Errno::Rofs)
    );
    assert_eq!(guest.open(ROOT, "lib/layer/plain/new.py", OpenHow::CREATE), Err(Errno::Rofs));
    assert_eq!(
        guest.open(ROOT, "lib/layer/library.zip/package", OpenHow::CREATE),
        Err(Errno::Notdir)
    );
    assert_eq!(
        guest.open(ROOT, "lib/layer/library.zip/package/data/x", OpenHow::CREATE),
        Err(Errno::Rofs)
    );
    assert_eq!(guest.mkdir(ROOT, "lib/layer/new"), Err(Errno::Rofs));
    assert_eq!(guest.mkdir(ROOT, "lib/layer/plain"), Err(Errno::Exist));
    assert_eq!(guest.symlink("x", ROOT, "lib/layer/new"), Err(Errno::Rofs));
    assert_eq!(guest.unlink(ROOT, file), Err(Errno::Rofs));
    assert_eq!(guest.rmdir(ROOT, directory), Err(Errno::Rofs));
    assert_eq!(guest.rmdir(ROOT, "lib/layer"), Err(Errno::Rofs));
    guest.mkdir(ROOT, "own").unwrap();
    for (from, to) in
        [(file, "own/x"), (directory, "own/x"), ("own", "lib/layer/own"), ("own", "lib/layer")]
    {
        assert_eq!(guest.rename((ROOT, from), (ROOT, to)), Err(Errno::Rofs), "{from} to {to}");
    }
    let fd = guest.open(ROOT, file, OpenHow::READ).unwrap();
    assert_eq!(guest.write(fd, b"x", None), Err(Errno::Badf));
    assert_eq!(guest.set_len(fd, 0), Err(Errno::Inval));
    assert_eq!(guest.call("fd_filestat_set_times", &[fd.into(), 1, 1, 5]), Err(Errno::Rofs));
    assert_eq!(
        guest.fs().put_file("/lib/layer/plain/module.py", Default::default()),
        Err(Errno::Rofs)
    );
    assert_eq!(guest.fs().used, Quota { bytes: 0, files: 1 }, "only `own`");
    // The control.
    assert_eq!(guest.read(fd, 100, None), Ok(b"x = 1\n".to_vec()));
    guest.open(ROOT, "own/x", OpenHow::CREATE).unwrap();
}

#[test]
fn a_frozen_file_system_needs_its_layers_back() {
    let mut guest = guest();
    let fd = guest.open(ROOT, "lib/layer/plain/module.py", OpenHow::READ).unwrap();
    guest.read(fd, 4, None).unwrap();
    let frozen = postcard::to_allocvec(guest.fs()).unwrap();
    let thawed: Fs = postcard::from_bytes(&frozen).unwrap();
    // Without them, every use is an error.
    let mut bare = Guest::new(thawed.clone());
    assert!(bare.read(fd, 4, None).is_err());
    assert!(bare.stat_path(ROOT, "lib/layer/plain", true).is_err());
    let mut thawed = thawed;
    for mount in &mut thawed.mounts {
        assert_eq!(mount.key, "layer");
        mount.layer = Some(layer());
    }
    assert_eq!(Guest::new(thawed).read(fd, 4, None), Ok(b"1\n".to_vec()), "open, and where it was");
}

#[test]
fn a_damaged_archive_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.zip");
    assert!(Layer::open(&path).is_err());
    for content in [&b""[..], b"not an archive", &[0; 10_000]] {
        std::fs::write(&path, content).unwrap();
        assert!(Layer::open(&path).is_err());
    }
    std::fs::remove_file(&path).unwrap();
    let mut writer = LayerWriter::create(&path).unwrap();
    writer.add("file", &[7; 1000]).unwrap();
    writer.finish().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(Layer::open(&path).is_err(), "cut to {len} bytes");
    }
    // With any bit flipped: an error, or a layer whose files can be read.
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).unwrap();
        if let Ok(layer) = Layer::open(&path) {
            assert!((0..).take_while(|index| layer.node(*index).is_some()).all(|index| {
                layer.content(index).is_none_or(|content| content.len() <= whole.len())
            }));
        }
    }
}
