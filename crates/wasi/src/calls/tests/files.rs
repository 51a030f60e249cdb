//! Whole files of a guest.

use crate::{
    fs::{Errno, abi::oflags, descriptors::ROOT},
    oracles::files::guest::{BUFFER_LEN, Guest, OpenHow},
};

/// Creates or replaces the file at `path`.
pub fn make(guest: &mut Guest, path: &str, content: &[u8]) {
    let how = OpenHow { oflags: oflags::CREATE | oflags::TRUNCATE, ..OpenHow::WRITE };
    let fd = guest.open(ROOT, path, how).unwrap();
    assert_eq!(guest.write(fd, content, None), Ok(content.len() as u32));
    guest.close(fd).unwrap();
}

/// Reads the file at `path`.
pub fn content(guest: &mut Guest, path: &str) -> Result<Vec<u8>, Errno> {
    let fd = guest.open(ROOT, path, OpenHow::READ)?;
    let content = guest.read(fd, BUFFER_LEN, None);
    guest.close(fd)?;
    content
}
