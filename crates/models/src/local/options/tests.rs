use super::*;

#[test]
fn files_that_are_not_models_are_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let with = |path: PathBuf| {
        resolve(&LocalOptions { model: LocalModel::File(path), ..LocalOptions::default() })
    };
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for (path, why) in [
        (directory.path().join("missing.gguf"), "cannot read the model file"),
        (directory.path().to_owned(), "cannot read the model file"),
        (write("empty.gguf", b""), "not a model in the GGUF format"),
        (write("model.safetensors", b"\x40\0\0\0\0\0\0\0{}"), "not a model in the GGUF format"),
    ] {
        let error = with(path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let good = write("model.gguf", b"GGUF and more");
    assert!(with(good).is_ok());
    assert!(resolve(&LocalOptions { context: 0, ..LocalOptions::default() }).is_err());
}

#[test]
fn names_come_from_files() {
    for (file, name) in [
        ("/c/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
        ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "qwen2.5-coder-7b-instruct-q4_k_m"),
        ("x.gguf", "x"),
    ] {
        assert_eq!(LocalModel::File(file.into()).name(), name);
    }
}

#[test]
fn a_replaced_file_is_another_model() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.gguf");
    let model = LocalModel::File(path.clone());
    assert_ne!(fingerprint(&model), fingerprint(&model), "the one of a missing file is unique");
    fs::write(&path, "GGUF one").unwrap();
    let first = fingerprint(&model);
    assert_eq!(fingerprint(&model), first);
    fs::write(&path, "GGUF three").unwrap();
    let second = fingerprint(&model);
    assert_ne!(second, first);
    // The same size at another time.
    let time = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_ne!(fingerprint(&model), second);
    assert_ne!(fingerprint(&LocalModel::Default), fingerprint(&model));
}
