use cellblock_exec::{Error, Executor, SessionSpec, Silent};
use cellblock_wasi::{ImageState, ImageStore, Options, WasiExecutor};

use crate::{executor, output};

#[tokio::test]
async fn the_shipped_image_is_ready_after_a_pull_and_verifies() {
    let store = ImageStore::in_user_cache().unwrap();
    let info = store.pull("python", &Silent).await.unwrap();
    assert_eq!(info.state, ImageState::Ready);
    assert!(info.packages.iter().any(|(name, _)| name == "pandas"), "{:?}", info.packages);
    assert_eq!(store.verify("python").unwrap().state, ImageState::Ready);
    assert!(store.list().unwrap().iter().any(|image| image.name == "python"));
}

#[tokio::test]
async fn unknown_images_and_bad_names_are_refused() {
    let store = ImageStore::in_user_cache().unwrap();
    for name in ["nonsense", "../../etc", ""] {
        assert!(matches!(store.pull(name, &Silent).await, Err(Error::Invalid { .. })), "{name:?}");
        assert!(matches!(store.verify(name), Err(Error::Invalid { .. })), "{name:?}");
        assert!(matches!(store.remove(name), Err(Error::Invalid { .. })), "{name:?}");
    }
    for name in ["python", "Upper", "../x", ""] {
        let refused = store.extend("python", name, &["humanize".parse().unwrap()], &Silent).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{name:?}");
    }
}

#[tokio::test]
async fn an_image_can_be_extended_with_packages() {
    let store = ImageStore::in_user_cache().unwrap();
    let name = format!("test-{}", std::process::id());
    let info =
        store.extend("python", &name, &["humanize".parse().unwrap()], &Silent).await.unwrap();
    assert_eq!(info.state, ImageState::Ready);
    let options = Options { image: name.clone(), ..Options::default() };
    let extended = WasiExecutor::start(store.clone(), options, &Silent).await.unwrap();
    let mut session = extended.open(SessionSpec::default()).await.unwrap();
    // It is imported already.
    assert_eq!(output(&mut session, "import sys; 'humanize' in sys.modules").await, "True\n");
    assert_eq!(output(&mut session, "import humanize; print(humanize.ordinal(3))").await, "3rd\n");
    drop(session);
    store.remove(&name).unwrap();
    assert!(store.list().unwrap().iter().all(|image| image.name != name));
    // Its base has not changed.
    let mut plain = executor().await.open(SessionSpec::default()).await.unwrap();
    assert_eq!(output(&mut plain, "import sys; 'humanize' in sys.modules").await, "False\n");
}

#[tokio::test]
async fn pruning_removes_what_no_image_needs() {
    // A cache of its own: the objects of other tests must not be removed.
    let directory = tempfile::tempdir().unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    let objects = directory.path().join("objects");
    std::fs::create_dir(objects.join("code-of-an-earlier-version")).unwrap();
    std::fs::write(objects.join("code-of-an-earlier-version").join("code.cwasm"), vec![1; 100_000])
        .unwrap();
    // The objects of a named environment stay.
    std::fs::create_dir(objects.join("wheels-kept")).unwrap();
    std::fs::create_dir(directory.path().join("environments")).unwrap();
    let environment = r#"{"requirements": ["humanize"], "objects": ["wheels-kept"]}"#;
    std::fs::write(directory.path().join("environments/data.json"), environment).unwrap();
    assert!(store.prune().unwrap() >= 100_000);
    let remaining: Vec<_> =
        std::fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(remaining, ["wheels-kept"]);
    assert_eq!(store.prune().unwrap(), 0);
}

#[tokio::test]
async fn an_extended_image_heals_when_its_packages_are_gone() {
    let store = ImageStore::in_user_cache().unwrap();
    let name = format!("heal-{}", std::process::id());
    store.extend("python", &name, &["inflection".parse().unwrap()], &Silent).await.unwrap();
    let recipe =
        std::fs::read_to_string(store.root.join("images").join(format!("{name}.json"))).unwrap();
    let key = recipe.split('"').find(|word| word.starts_with("packages-")).unwrap();
    std::fs::remove_dir_all(store.root.join("objects").join(key)).unwrap();
    let options = Options { image: name.clone(), ..Options::default() };
    let executor = WasiExecutor::start(store.clone(), options, &Silent).await.unwrap();
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    assert_eq!(
        output(&mut session, "import inflection; inflection.pluralize('cell')").await,
        "'cells'\n"
    );
    store.remove(&name).unwrap();
}
