//! Telling a model's weights from others, without reading all of them.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{LocalModel, parts};

/// What tells the weights that a model has now from those that it had, or will have: the version of the default model; of a file
/// its path, size and time of change. It does not depend on the working directory.
pub(super) fn fingerprint(model: &LocalModel) -> String {
    let path = match model {
        LocalModel::Default => return parts::MODEL.identity(),
        LocalModel::File(path) => path,
    };
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    match path.canonicalize().and_then(|path| fs::metadata(&path).map(|metadata| (path, metadata)))
    {
        Ok((path, metadata)) => {
            let changed = metadata.modified().map_or(0, since);
            format!("{} {} {changed}", path.display(), metadata.len())
        }
        // It may be there when it is needed, and nobody knows what it will be then: like no other.
        Err(_) => format!("{} not there at {}", path.display(), since(SystemTime::now())),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn a_file_that_was_replaced_is_another_model() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.gguf");
        let model = LocalModel::File(path.clone());
        assert_ne!(
            fingerprint(&model),
            fingerprint(&model),
            "a file that is not there is like no other"
        );
        fs::write(&path, "GGUF one").unwrap();
        let first = fingerprint(&model);
        assert_eq!(fingerprint(&model), first);
        fs::write(&path, "GGUF three").unwrap();
        let second = fingerprint(&model);
        assert_ne!(second, first);
        // Of the same size, at another time.
        let time = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_ne!(fingerprint(&model), second);
        assert_ne!(fingerprint(&LocalModel::Default), fingerprint(&model));
    }
}
