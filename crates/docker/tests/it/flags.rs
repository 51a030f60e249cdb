//! The flags of a container as the engine shows them, and their meaning inside.

use std::time::Duration;

use bollard::models::HostConfig;
use cellblock_docker::{HostMount, Options};
use cellblock_exec::{Error, Executor, HostRule, Limits, Network, SessionSpec, with_causes};

use crate::engine::{client, container_of, executor, executor_with, succeed};

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_denied_by_default() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let limits = Limits {
        memory: 200 * MIB,
        disk: 10 * MIB,
        files: 100,
        processes: 20,
        ..Limits::default()
    };
    let mut session =
        executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap();
    let container = container_of(&docker, session.as_mut()).await;

    let config = container.config.unwrap();
    assert_eq!(config.user.as_deref(), Some("65534:65534"));
    assert_eq!(
        (config.tty, config.open_stdin, config.stdin_once),
        (Some(false), Some(true), Some(true))
    );
    assert_eq!(
        (config.hostname.as_deref(), config.working_dir.as_deref()),
        (Some("cell"), Some("/workspace"))
    );
    // The image's own variables only.
    assert!(config.env.iter().flatten().all(|variable| variable.starts_with("PATH=")));
    let labels = config.labels.unwrap();
    assert!(
        labels.contains_key("cellblock.version") && labels["cellblock.owner"].contains('/'),
        "{labels:?}"
    );

    let host: HostConfig = container.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(
        (host.readonly_rootfs, host.privileged, host.auto_remove),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add.unwrap_or_default(), Vec::<String>::new());
    let options = host.security_opt.unwrap();
    assert_eq!(options.len(), 2, "{options:?}");
    assert_eq!(options[0], "no-new-privileges:true");
    assert!(options[1].starts_with("seccomp={"), "{options:?}");
    assert_eq!((host.memory, host.memory_swap), (Some(200 << 20), Some(200 << 20)));
    assert_eq!((host.pids_limit, host.shm_size), (Some(22), Some(10 << 20)));
    assert_eq!((host.init, host.oom_kill_disable.unwrap_or(false)), (Some(false), false));
    assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
    assert_eq!(host.binds.unwrap_or_default(), Vec::<String>::new());
    assert_eq!(
        host.devices.unwrap_or_default().len() + host.device_requests.unwrap_or_default().len(),
        0
    );
    for directory in ["/workspace", "/tmp"] {
        let options = &host.tmpfs.as_ref().unwrap()[directory];
        for option in ["nosuid", "nodev", "size=10485760", "nr_inodes=101", "uid=65534"] {
            assert!(options.split(',').any(|given| given == option), "{directory}: {options}");
        }
    }
    let mounts = container.mounts.unwrap();
    let volumes: Vec<&str> =
        mounts.iter().filter_map(|mount| mount.destination.as_deref()).collect();
    assert_eq!(volumes, ["/packages"], "{mounts:?}");
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_flags_mean_inside() {
    let Some(executor) = executor().await else { return };
    let limits = Limits { disk: 10 * MIB, files: 100, ..Limits::default() };
    let mut session =
        executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap();
    let code = r#"
import os
print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), os.uname().nodename)
status = dict(line.split(':\t', 1) for line in open('/proc/self/status') if ':\t' in line)
print([status[name].strip() for name in ('CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs', 'Seccomp')])
for path in ('/etc/x', '/usr/x', '/packages/x', '/x', '/dev/x', '/proc/sys/kernel/x',
             '/sys/fs/cgroup/x'):
    try:
        open(path, 'w')
        print('wrote', path)
    except OSError:
        pass
for path in ('/workspace/x', '/tmp/x', '/dev/shm/x'):
    open(path, 'w').close()
print(sorted(os.listdir('/sys/class/net')) if os.path.exists('/sys/class/net') else '')
files = os.statvfs('/workspace')
print(files.f_blocks * files.f_frsize, files.f_files)
"#;
    let expected = "65534 65534 [65534] /workspace cell\n\
                    ['0000000000000000', '0000000000000000', '0000000000000000', '1', '2']\n\
                    ['lo']\n\
                    10485760 101\n";
    assert_eq!(succeed(session.as_mut(), code).await, expected);
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_maximum_values_are_no_limits() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let limits = Limits {
        wall: Duration::MAX,
        cpu: None,
        memory: u64::MAX,
        output: u64::MAX,
        disk: u64::MAX,
        files: u32::MAX,
        processes: u32::MAX,
    };
    let mut session =
        executor.open(SessionSpec { limits, ..SessionSpec::default() }).await.unwrap();
    let host = container_of(&docker, session.as_mut()).await.host_config.unwrap();
    assert_eq!((host.memory.unwrap_or(0), host.memory_swap.unwrap_or(0)), (0, 0));
    assert!(host.pids_limit.unwrap_or(0) <= 0, "{:?}", host.pids_limit);
    assert!(host.tmpfs.unwrap()["/workspace"].contains("size=0,nr_inodes=0"));
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn granted_mounts_and_processors_are_given() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::fs::write(directory.path().join("data.txt"), "of the host").unwrap();
    let mount =
        HostMount { host: directory.path().to_owned(), cell: "/data".to_owned(), writable: false };
    let options = Options { idle: 0, cpus: Some(0.5), mounts: vec![mount], ..Options::default() };
    let Some(granted) = executor_with(options).await else { return };
    let docker = client().await;
    let mut session = granted.open(SessionSpec::default()).await.unwrap();
    assert_eq!(
        succeed(session.as_mut(), "print(open('/data/data.txt').read())").await,
        "of the host\n"
    );
    let code = "try: open('/data/new', 'w')\nexcept OSError as error: print(error.errno)";
    assert_eq!(succeed(session.as_mut(), code).await, "30\n");
    assert!(!directory.path().join("new").exists());
    assert_eq!(
        container_of(&docker, session.as_mut()).await.host_config.unwrap().nano_cpus,
        Some(500_000_000)
    );
    session.close().await.unwrap();

    // The control: without the grant there is no such directory.
    let Some(plain) = executor().await else { return };
    let mut session = plain.open(SessionSpec::default()).await.unwrap();
    assert_eq!(
        succeed(session.as_mut(), "import os\nprint(os.path.exists('/data'))").await,
        "False\n"
    );
    session.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_options_are_refused() {
    let mount = |host: &str, cell: &str| Options {
        mounts: vec![HostMount { host: host.into(), cell: cell.to_owned(), writable: false }],
        ..Options::default()
    };
    let table = [
        (
            Options { runtime: Some("no-such".to_owned()), ..Options::default() },
            "no runtime no-such",
        ),
        (Options { cpus: Some(0.0), ..Options::default() }, "too few"),
        (Options { cpus: Some(f64::NAN), ..Options::default() }, "too few"),
        (mount("relative", "/data"), "not an absolute path"),
        (mount("/x", "data"), "not an absolute path in the cell"),
        (mount("/x", "/data/../etc"), "not an absolute path in the cell"),
        (mount("/x", "/workspace"), "belongs to the cell"),
        (mount("/x", "/proc/x"), "belongs to the cell"),
        (mount("/x", "/"), "not an absolute path in the cell"),
    ];
    for (options, expected) in table {
        let Some(engine) = crate::engine::engine().await else { return };
        let error = cellblock_docker::DockerExecutor::start_on(
            engine,
            options.clone(),
            &cellblock_exec::Silent,
        )
        .await;
        let error = with_causes(&error.unwrap_err());
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_host_has_a_name_and_a_low_port() {
    let Some(executor) = executor().await else { return };
    let docker = client().await;
    let rule = |host: &str, port| HostRule { host: host.to_owned(), port: Some(port) };
    let network = Network::Allow(vec![rule("files.example", 80), rule("localhost", 443)]);
    let mut session =
        executor.open(SessionSpec { network, ..SessionSpec::default() }).await.unwrap();
    let container = container_of(&docker, session.as_mut()).await;
    let host = container.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("none"), "a grant opens no network");
    assert_eq!(host.extra_hosts, Some(vec!["files.example:127.77.0.1".to_owned()]));
    let code = "import socket\nprint(socket.gethostbyname('files.example'))";
    assert_eq!(succeed(session.as_mut(), code).await, "127.77.0.1\n");
    session.close().await.unwrap();

    let network = Network::Allow(vec![rule("192.0.2.1", 80)]);
    match executor.open(SessionSpec { network, ..SessionSpec::default() }).await {
        Err(Error::Unsupported(why)) => assert!(why.contains("192.0.2.1"), "{why}"),
        other => panic!("an address was granted: {other:?}"),
    }
}

/// Our own filter is in force, whatever the engine's would allow: this engine's allows sockets of
/// virtual machines and io_uring.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_arch = "x86_64")]
async fn calls_are_filtered_by_our_own_profile() {
    let Some(executor) = executor().await else { return };
    let mut session = executor.open(SessionSpec::default()).await.unwrap();
    let code = "import ctypes, errno, os, socket, threading\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(*numbers):\n    ctypes.set_errno(0)\n    \
        result = libc.syscall(*[ctypes.c_long(n) for n in numbers])\n    \
        return 'ok' if result >= 0 else errno.errorcode[ctypes.get_errno()]\n\
        print('vsock', call(41, 40, 1, 0))\n\
        print('netlink', call(41, 16, 3, 0))\n\
        print('io_uring', call(425, 1, 0))\n\
        print('bpf', call(321, 99, 0, 0))\n\
        print('new user', call(56, 0x10000000 | 17, 0, 0, 0, 0))\n\
        print('clone3', call(435, 0, 0))\n\
        print('newer', call(473, 0), call(600, 0))\n\
        print('unix', call(41, 1, 1, 0), 'internet', call(41, 2, 1, 0))\n\
        print('pair', bool(socket.socketpair()))\n\
        thread = threading.Thread(target=print, args=('thread',))\n\
        thread.start()\n\
        thread.join()\n\
        print('process', os.system('true'))";
    let seen = succeed(session.as_mut(), code).await;
    let expected = "vsock EPERM\nnetlink EPERM\nio_uring EPERM\nbpf EPERM\nnew user EPERM\n\
                    clone3 ENOSYS\nnewer ENOSYS ENOSYS\nunix ok internet ok\npair True\nthread\n\
                    process 0\n";
    assert_eq!(seen, expected);
    session.close().await.unwrap();
}
