//! Making a memory image: a guest boots, is prepared for programs, and is brought to rest.
//!
//! Two preparations keep copies of the image small. Objects that live are moved out of the garbage
//! collector's sight, and they are made immortal (PEP 683). So no program ever writes the
//! collector's marks or reference counts to objects of the image.

use std::{fs::File, path::Path, sync::Arc};

use cellblock_cache::storage_error;
use cellblock_exec::{
    Capture, Error, Result,
    python::{HOST, NOTEBOOK},
};

use super::{
    guest::{self, GuestFacts},
    manifest::Manifest,
};
use crate::{
    fs::{CONTROL, Device, Errno, Fs, Layer, Quota, WORKSPACE},
    host::TurnState,
    memory::{Guest, MemoryImage, Slot, WASM_PAGE},
    python::{dictionary, literal},
};

/// The directory where layers of installed packages are mounted.
pub const PACKAGES: &str = "/usr/local/packages";

/// The part of the driver's program that follows the parts which all executors share.
const DRIVER: &str = include_str!("../driver.py");
const WARMUP: &str = include_str!("../../../../sandbox-images/python/warmup.py");

/// Returns everything that an image is made from, besides its guest and layers.
pub fn recipe(manifest_text: &str) -> [&[u8]; 6] {
    /// Changed when the way an image is made changes.
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

/// Boots the guest in `directory` and prepares it for programs.
pub async fn boot(
    guest: &Guest,
    directory: &Path,
    facts: &GuestFacts,
    manifest: &Manifest,
    library: (&str, Arc<Layer>),
) -> Result<Slot> {
    let fs = layout(manifest, library)
        .map_err(|errno| failed("laying out the files", format!("{errno:?}").into()))?;
    let initial = initial_image(guest, directory, facts, fs)?;
    let mut slot = Slot::new(guest, Arc::new(initial))
        .await
        .map_err(|error| failed("starting", error.into()))?;
    // The slot starts with an empty quota, but booting writes files.
    slot.store.data_mut().fs.set_quota(Quota::UNLIMITED);
    let define = format!(
        "import sys, types\n\
         sys.modules['_cellblock'] = types.ModuleType('_cellblock')\n\
         exec(compile({}, '<cellblock>', 'exec'), sys.modules['_cellblock'].__dict__)\n\
         sys.modules['_cellblock'].prepare({}, {})\n",
        literal(&[NOTEBOOK, HOST, DRIVER].join("\n")),
        dictionary(&manifest.environment),
        literal(WORKSPACE),
    );
    run(&mut slot, &define).await?;
    run(&mut slot, &format!("import {}\n", manifest.warmup.imports.join(", "))).await?;
    run(&mut slot, "sys.modules['_cellblock'].hook_figures()\n").await?;
    run(&mut slot, &format!("exec(compile({}, '<warm-up>', 'exec'), {{}})\n", literal(WARMUP)))
        .await?;
    // Two turns like those of programs, so that the image contains the effects of a first turn.
    for source in ["<warm-up>\nprint('ready')", "<warm-up>\n[1 + 1]"] {
        slot.store.data_mut().turn.request = source.as_bytes().to_vec();
        run(&mut slot, &format!("__cellblock__({}, True)", source.len())).await?;
        slot.store.data_mut().turn = TurnState::default();
    }
    run(&mut slot, &format!("bytearray({}) and None\n", manifest.warmup.headroom)).await?;
    settle(&mut slot).await?;
    Ok(slot)
}

/// Imports modules into a guest that is ready, and brings it to rest again.
pub async fn import(slot: &mut Slot, directory: &str, modules: &[String]) -> Result<()> {
    run(slot, &format!("import sys\nsys.path.append({})\n", literal(directory))).await?;
    for module in modules {
        run(slot, &format!("import {module}\n")).await?;
    }
    settle(slot).await
}

/// Brings a guest to rest. Every copy of the image starts in this state.
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

/// Returns the guest's memory as its data segments define it.
fn initial_image(
    guest: &Guest,
    directory: &Path,
    facts: &GuestFacts,
    fs: Fs,
) -> Result<MemoryImage> {
    let path = directory.join(guest::MEMORY);
    let memory =
        guest.instances.module().exports().find_map(|export| export.ty().memory().cloned());
    let bytes = memory.map_or(0, |memory| memory.minimum() * WASM_PAGE);
    // An unlinked copy, extended to the length of the memory. The object itself does not change.
    let open = || {
        let mut copy = tempfile::tempfile_in(directory.parent().unwrap_or(directory))?;
        std::io::copy(&mut File::open(&path)?, &mut copy)?;
        copy.set_len(bytes)?;
        MemoryImage::new(copy, bytes as usize, facts.globals.clone().into(), fs)
    };
    open().map_err(|source| storage_error("read", &path, source))
}

/// Creates the directories, devices and links that every guest finds.
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
    // Other sandboxes keep their files there, so models often write to it.
    fs.make_link("/mnt/data", WORKSPACE)?;
    fs.make_directories(manifest.layout.mount.rsplit_once('/').map_or("/", |(parent, _)| parent))?;
    let (key, layer) = library;
    fs.mount(&manifest.layout.mount, key, layer)?;
    for sealed in ["/", "/usr", "/usr/local", PACKAGES, "/mnt", "/dev"] {
        fs.seal(sealed)?;
    }
    Ok(fs)
}

fn failed(doing: &str, source: cellblock_exec::Cause) -> Error {
    Error::Start { what: format!("the guest ({doing})"), source }
}
