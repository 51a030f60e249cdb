//! Taking a memory image: a guest boots, gets ready, comes to rest, and is written down.

use std::{fs::File, path::Path, sync::Arc};

use cellblock_cache::storage_error;
use cellblock_exec::{
    Capture, Error, Result,
    python::{HOST, NOTEBOOK},
};

use super::{
    guest::{self, Facts},
    manifest::Manifest,
    strip::WASM_PAGE,
};
use crate::{
    fs::{CONTROL, Device, Errno, Fs, Layer, WORKSPACE},
    memory::{Guest, MemoryImage, Slot},
    python::literal,
};

/// Where layers of installed packages are mounted.
pub(crate) const PACKAGES: &str = "/usr/local/packages";

/// The driver's own part, which comes after those that all drivers share.
const DRIVER: &str = include_str!("../driver.py");
const WARMUP: &str = include_str!("../../../../sandbox-images/python/warmup.py");

/// All that decides what an image will be, besides its guest and layers.
pub(crate) fn recipe(manifest_text: &str) -> [&[u8]; 6] {
    /// Raised when the way an image is taken changes.
    const FORMAT: &[u8] = b"1";
    [
        FORMAT,
        manifest_text.as_bytes(),
        NOTEBOOK.as_bytes(),
        HOST.as_bytes(),
        DRIVER.as_bytes(),
        WARMUP.as_bytes(),
    ]
}

/// Boots the guest in `directory` and makes it ready for programs.
pub(crate) async fn boot(
    guest: &Guest,
    directory: &Path,
    facts: &Facts,
    manifest: &Manifest,
    library: (&str, Arc<Layer>),
) -> Result<Slot> {
    let fs = layout(manifest, library)
        .map_err(|errno| failed("laying out the files", format!("{errno:?}").into()))?;
    let initial = initial_image(guest, directory, facts, fs)?;
    let mut slot = Slot::new(guest, Arc::new(initial))
        .await
        .map_err(|error| failed("starting", error.into()))?;
    // The slot starts from the image's files with an empty quota; the boot may write.
    slot.store.data_mut().fs.set_quota(crate::fs::Quota::UNLIMITED);
    let define = format!(
        "import sys, types\n\
         sys.modules['_cellblock'] = types.ModuleType('_cellblock')\n\
         exec(compile({}, '<cellblock>', 'exec'), sys.modules['_cellblock'].__dict__)\n\
         sys.modules['_cellblock'].prepare({}, {})\n",
        literal(&[NOTEBOOK, HOST, DRIVER].join("\n")),
        environment(manifest),
        literal(WORKSPACE),
    );
    run(&mut slot, &define).await?;
    run(&mut slot, &format!("import {}\n", manifest.warmup.imports.join(", "))).await?;
    run(&mut slot, "sys.modules['_cellblock'].hook_figures()\n").await?;
    run(&mut slot, &format!("exec(compile({}, '<warm-up>', 'exec'), {{}})\n", literal(WARMUP)))
        .await?;
    // Two turns as programs take them, so that their own first use is paid for, too.
    for source in ["<warm-up>\nprint('ready')", "<warm-up>\n[1 + 1]"] {
        slot.store.data_mut().turn.request = source.as_bytes().to_vec();
        run(&mut slot, &format!("__cellblock__({}, True)", source.len())).await?;
        slot.store.data_mut().turn = crate::host::Turn::default();
    }
    run(&mut slot, &format!("bytearray({}) and None\n", manifest.warmup.headroom)).await?;
    settle(&mut slot).await?;
    Ok(slot)
}

/// Adds modules to a guest that is ready, and brings it to rest again.
pub(crate) async fn import(slot: &mut Slot, directory: &str, modules: &[String]) -> Result<()> {
    run(slot, &format!("import sys\nsys.path.append({})\n", literal(directory))).await?;
    for module in modules {
        run(slot, &format!("import {module}\n")).await?;
    }
    settle(slot).await
}

/// Brings a guest to rest: what is written down now is what every copy starts with.
async fn settle(slot: &mut Slot) -> Result<()> {
    slot.store.data_mut().turn.immortals = Some(Vec::new());
    run(slot, "__import__('_cellblock').settle()\n").await?;
    slot.store.data_mut().turn.immortals = None;
    if !slot.is_at_rest() {
        return Err(failed(
            "coming to rest",
            "its globals are not what they were at the start".into(),
        ));
    }
    Ok(())
}

/// Runs Python that has to succeed.
async fn run(slot: &mut Slot, source: &str) -> Result<()> {
    const KEEP: u64 = 16 * 1024;
    slot.store.data_mut().turn.stderr = Capture::new(KEEP);
    let outcome = slot.turn(source.as_bytes()).await;
    let host = slot.store.data_mut();
    let stderr = std::mem::take(&mut host.turn.stderr).finish().text();
    match outcome {
        Ok(0) => Ok(()),
        Ok(_) => Err(failed("getting ready", stderr.into())),
        Err(error) => Err(failed("getting ready", format!("{error:#}; {stderr}").into())),
    }
}

/// The guest's memory as its data segments define it.
fn initial_image(guest: &Guest, directory: &Path, facts: &Facts, fs: Fs) -> Result<MemoryImage> {
    let path = directory.join(guest::MEMORY);
    let memory =
        guest.instances.module().exports().find_map(|export| export.ty().memory().cloned());
    let bytes = memory.map_or(0, |memory| memory.minimum() * WASM_PAGE);
    // An unlinked copy, as long as the memory: the object itself stays as it is.
    let open = || {
        let mut copy = tempfile::tempfile_in(directory.parent().unwrap_or(directory))?;
        std::io::copy(&mut File::open(&path)?, &mut copy)?;
        copy.set_len(bytes)?;
        MemoryImage::new(copy, bytes as usize, facts.globals.clone().into(), fs)
    };
    open().map_err(|source| storage_error("read", &path, source))
}

/// The directories, devices and links that every guest finds.
fn layout(manifest: &Manifest, library: (&str, Arc<Layer>)) -> Result<Fs, Errno> {
    let mut fs = Fs::new();
    for directory in ["/tmp", WORKSPACE, PACKAGES, "/mnt", "/dev"] {
        fs.make_directories(directory)?;
    }
    for (path, device) in [
        ("/dev/null", Device::Null),
        ("/dev/zero", Device::Zero),
        ("/dev/random", Device::Random),
        ("/dev/urandom", Device::Random),
        (CONTROL, Device::Control),
    ] {
        fs.put_device(path, device)?;
    }
    // Where other sandboxes keep their files, and so where models like to write.
    fs.make_link("/mnt/data", WORKSPACE)?;
    fs.make_directories(manifest.layout.mount.rsplit_once('/').map_or("/", |(parent, _)| parent))?;
    let (key, layer) = library;
    fs.mount(&manifest.layout.mount, key, layer)?;
    for sealed in ["/", "/usr", "/usr/local", PACKAGES, "/mnt", "/dev"] {
        fs.seal(sealed)?;
    }
    Ok(fs)
}

fn environment(manifest: &Manifest) -> String {
    crate::python::dictionary(&manifest.environment)
}

fn failed(doing: &str, source: cellblock_exec::Cause) -> Error {
    Error::Start { what: format!("the guest ({doing})"), source }
}
