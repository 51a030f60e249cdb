//! The choice of an engine, and the errors when there is none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cellblock_docker::{
    Engine,
    connect::{Address, DockerEnvironment, endpoints},
};
use cellblock_exec::with_causes;
use sha2::{Digest, Sha256};

/// Writes a directory of docker's configuration, with contexts and a current one.
fn config(directory: &Path, current: Option<&str>, contexts: &[(&str, &str)]) {
    let current = current.map_or("{}".to_owned(), |name| {
        format!("{{\"currentContext\": \"{name}\", \"auths\": {{}}}}")
    });
    fs::write(directory.join("config.json"), current).unwrap();
    for (name, host) in contexts {
        let hash: String =
            Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = directory.join("contexts/meta").join(hash);
        fs::create_dir_all(&meta).unwrap();
        let text = format!(
            "{{\"Name\": \"{name}\", \"Metadata\": {{}}, \"Endpoints\": {{\"docker\": {{\
             \"Host\": \"{host}\", \"SkipTLSVerify\": false}}}}}}"
        );
        fs::write(meta.join("meta.json"), text).unwrap();
    }
}

fn socket(path: &str) -> Address {
    Address::Socket(PathBuf::from(path))
}

#[test]
fn docker_host_is_parsed() {
    let tls = |certificates: &str| Address::Tls {
        address: "far:2376".to_owned(),
        certificates: certificates.into(),
    };
    let table = [
        ("unix:///run/x.sock", false, Ok(socket("/run/x.sock"))),
        ("tcp://far:1234", false, Ok(Address::Tcp("far:1234".to_owned()))),
        ("http://far:1234/", false, Ok(Address::Tcp("far:1234".to_owned()))),
        ("tcp://far", false, Ok(Address::Tcp("far:2375".to_owned()))),
        ("far:1234", false, Ok(Address::Tcp("far:1234".to_owned()))),
        ("tcp://[::1]:2375", false, Ok(Address::Tcp("[::1]:2375".to_owned()))),
        ("tcp://far", true, Ok(tls("/home/me/.docker"))),
        ("https://far", true, Ok(tls("/home/me/.docker"))),
        ("https://far", false, Err("DOCKER_TLS_VERIFY")),
        ("ssh://far", false, Err("ssh -nNT -L")),
        ("npipe:////./pipe/docker", false, Err("only unix:// and tcp://")),
        ("unix://relative", false, Err("absolute path")),
        ("tcp://", false, Err("names no host")),
    ];
    for (host, tls, expected) in table {
        let home = Some(PathBuf::from("/home/me"));
        let found = endpoints(&DockerEnvironment {
            host: Some(host.to_owned()),
            tls,
            home,
            ..DockerEnvironment::default()
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.len(), 1, "{host}");
                assert_eq!(
                    (&found[0].address, found[0].origin.as_str()),
                    (&expected, "DOCKER_HOST"),
                    "{host}"
                );
            }
            (Err(error), Err(expected)) => {
                assert!(with_causes(&error).contains(expected), "{host}: {error}")
            }
            (found, expected) => panic!("{host}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn contexts_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let contexts = [("rootless", "unix:///run/user/1/docker.sock"), ("far away", "tcp://far:2375")];
    config(directory.path(), Some("rootless"), &contexts);
    let here = DockerEnvironment {
        config: Some(directory.path().to_owned()),
        ..DockerEnvironment::default()
    };

    let found = endpoints(&here).unwrap();
    assert_eq!((found.len(), &found[0].address), (1, &socket("/run/user/1/docker.sock")));
    assert_eq!(found[0].origin, "the context rootless");

    let named = DockerEnvironment { context: Some("far away".to_owned()), ..here.clone() };
    assert_eq!(endpoints(&named).unwrap()[0].address, Address::Tcp("far:2375".to_owned()));

    let host = DockerEnvironment { host: Some("unix:///x".to_owned()), ..named };
    assert_eq!(
        endpoints(&host).unwrap()[0].address,
        socket("/x"),
        "DOCKER_HOST comes before any context"
    );

    let default = DockerEnvironment { context: Some("default".to_owned()), ..here.clone() };
    assert_eq!(endpoints(&default).unwrap()[0].address, socket("/var/run/docker.sock"));

    let unknown = DockerEnvironment { context: Some("nowhere".to_owned()), ..here.clone() };
    let error = with_causes(&endpoints(&unknown).unwrap_err());
    assert!(
        error.contains("no context `nowhere`") && error.contains("docker context ls"),
        "{error}"
    );

    fs::write(directory.path().join("config.json"), "{").unwrap();
    let error = with_causes(&endpoints(&here).unwrap_err());
    assert!(error.contains("cannot parse") && error.contains("config.json"), "{error}");
}

#[test]
fn a_context_with_certificates_is_reached_through_tls() {
    let directory = tempfile::tempdir().unwrap();
    config(directory.path(), Some("far"), &[("far", "tcp://far:2376")]);
    let hash: String = Sha256::digest(b"far").iter().map(|byte| format!("{byte:02x}")).collect();
    let certificates = directory.path().join("contexts/tls").join(hash).join("docker");
    fs::create_dir_all(&certificates).unwrap();
    let here = DockerEnvironment {
        config: Some(directory.path().to_owned()),
        ..DockerEnvironment::default()
    };
    let expected = Address::Tls { address: "far:2376".to_owned(), certificates };
    assert_eq!(endpoints(&here).unwrap()[0].address, expected);
}

#[test]
fn without_a_name_the_default_sockets_are_tried_in_order() {
    let here = DockerEnvironment {
        home: Some(PathBuf::from("/home/me")),
        runtime: Some(PathBuf::from("/run/user/7")),
        ..DockerEnvironment::default()
    };
    let found: Vec<String> =
        endpoints(&here).unwrap().iter().map(|endpoint| endpoint.address.to_string()).collect();
    let expected = [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        "unix:///home/me/.docker/run/docker.sock",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ];
    assert_eq!(found, expected);
}

/// Returns the error of connecting to this host.
async fn failure(host: &str) -> String {
    let here = DockerEnvironment { host: Some(host.to_owned()), ..DockerEnvironment::default() };
    with_causes(&Engine::connect_in(&here).await.unwrap_err())
}

#[tokio::test]
async fn a_missing_engine_is_distinguished_from_one_that_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let host = format!("unix://{}", path.display());

    let error = failure(&host).await;
    assert!(
        error.contains("no Docker engine is running") && error.contains("does not exist"),
        "{error}"
    );

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = failure(&host).await;
    assert!(
        error.contains("no Docker engine is running") && error.contains("nobody listens"),
        "{error}"
    );

    // A listener that is not an engine.
    fs::remove_file(&path).unwrap();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await;
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 6\r\n\r\nno way";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        }
    });
    let error = failure(&host).await;
    assert!(error.contains("does not answer") && error.contains("no way"), "{error}");
    answering.abort();

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = failure(&format!("tcp://127.0.0.1:{port}")).await;
    assert!(error.contains("nobody listens") && error.contains("DOCKER_HOST"), "{error}");
}

#[tokio::test]
async fn a_socket_without_permission_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if nix::unistd::geteuid().is_root() {
        // Root may use any socket, so a child that is not root runs this very test.
        let program = std::env::current_exe().unwrap();
        let copy = directory.path().join("tests");
        fs::copy(program, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = std::process::Command::new(copy);
        command.args([
            "--exact",
            "connect::a_socket_without_permission_says_what_to_do",
            "--nocapture",
        ]);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let output = command.env("TMPDIR", "/tmp").current_dir("/").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
        return;
    }
    let error = failure(&format!("unix://{}", path.display())).await;
    assert!(error.contains("no permission") && error.contains("group docker"), "{error}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_that_is_not_built_in_is_reported() {
    let here = DockerEnvironment {
        host: Some("tcp://127.0.0.1:1".to_owned()),
        tls: true,
        home: Some(PathBuf::from("/nowhere")),
        ..DockerEnvironment::default()
    };
    let error = with_causes(&Engine::connect_in(&here).await.unwrap_err());
    assert!(error.contains("requires TLS") && error.contains("feature `tls`"), "{error}");
}

/// Podman has the same API, but does not support all that a session needs.
#[tokio::test]
async fn podman_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/socket", directory.path().display());
    let service = tokio::process::Command::new("podman")
        .args(["system", "service", "--time=0", &address])
        .kill_on_drop(true)
        .spawn();
    let Ok(_service) = service else {
        println!("skipped: podman is not installed");
        return;
    };
    let environment = DockerEnvironment { host: Some(address), ..DockerEnvironment::default() };
    let mut refusal =
        Engine::connect_in(&environment).await.map(drop).map_err(|error| with_causes(&error));
    for _ in 0..200 {
        // It takes a moment to come up.
        if refusal.as_ref().is_err_and(|text| text.contains("Podman")) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        refusal =
            Engine::connect_in(&environment).await.map(drop).map_err(|error| with_causes(&error));
    }
    panic!("{refusal:?}");
}
