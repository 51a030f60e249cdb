//! A script renames, removes, links and changes the types of files in the workspace and in the
//! temporary directory, as fast as it can, while blocks run and files are written. The driver must
//! survive it, and each block must end within its time with a true outcome.
//!
//! `CELLBLOCK_FUZZ_SECONDS` gives it more time, `CELLBLOCK_FUZZ_SEED` starts with another seed.

use std::time::{Duration, Instant};

use cellblock_exec::{
    Error, ExecutionRequest, Executor, InputFile, Language, Limit, Outcome, Session,
};

use crate::{bare::Bare, sessions::unlimited};

/// The default duration, in seconds.
const SECONDS: u64 = 8;
/// The duration of one session.
const ROUND: Duration = Duration::from_secs(2);
/// The time limit of each block, and the time after which a call counts as hanging: a driver that
/// does not answer is given up after ten seconds.
const WALL: Duration = Duration::from_secs(3);
const HANGS: Duration = Duration::from_secs(9);

/// Acts on few names, so that it collides with the driver. It never follows a link in the last
/// component, because it acts on the machine's own file system. With an odd seed it also acts on
/// files of blocks.
const SCRIPT: &str = r#"
import fcntl, os, random, socket, sys
random.seed(int(sys.argv[1]))
tamper = int(sys.argv[1]) % 2
tmp = os.environ['TMPDIR']
names = ['n0', 'n1', 'n2', 'd0', 'd1']
targets = ['n0', 'n1', 'nowhere', '.', 'd0', 'd1', tmp, '/proc/self/fd', '/proc/self/fd/1']
held = []
def name():
    place = random.choice(['', '', '', tmp + '/', 'd0/', 'd1/', 'd0/d1/', 'd1/d0/'])
    if tamper and random.random() < 0.2:
        blocks = [entry for entry in os.listdir(tmp) if len(entry) > 30]
        if blocks: return tmp + '/' + random.choice(blocks)
    return place + random.choice(names)
def make(path):
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags, 0o644)
    try:
        if random.random() < 0.1: os.ftruncate(fd, random.choice([0, 1, 1 << 20, 1 << 40]))
        else: os.write(fd, b'x' * random.choice([0, 1, 100, 100000]))
        if random.random() < 0.2: os.fchmod(fd, random.choice([0, 0o400, 0o777]))
        if random.random() < 0.1: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    finally:
        if random.random() < 0.1: held.append(fd)
        else: os.close(fd)
    if len(held) > 20: os.close(held.pop(0))
def bind(path):
    with socket.socket(socket.AF_UNIX) as end: end.bind(path)
def tree(path):
    os.mkdir(path)
    for entry in names: make(path + '/' + entry)
acts = [
    lambda: os.unlink(name()), lambda: os.unlink(name()), lambda: os.rmdir(name()),
    lambda: os.rename(name(), name()), lambda: os.rename(name(), name()),
    lambda: os.symlink(random.choice(targets), name()), lambda: os.mkfifo(name()),
    lambda: os.mkdir(name()), lambda: os.link(name(), name(), follow_symlinks=False),
    lambda: make(name()), lambda: make(name()), lambda: bind(name()), lambda: tree(name()),
]
while True:
    try: random.choice(acts)()
    except OSError: pass
"#;

/// Random numbers from a seed (splitmix64).
struct RandomNumbers(u64);

impl RandomNumbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

async fn session(seed: u64) -> Box<dyn Session> {
    let mut session = Bare.open(unlimited()).await.unwrap();
    let code = format!("ENGINE=$(cat)\npython3 -c \"$ENGINE\" {seed} >/dev/null 2>&1 &\necho on");
    let request = ExecutionRequest {
        language: Language::BASH,
        stdin: SCRIPT.as_bytes().to_vec().into(),
        ..ExecutionRequest::python(code)
    };
    assert_eq!(session.execute(request).await.unwrap().stdout.text(), "on\n");
    session
}

/// Makes one call, and checks its result.
async fn step(session: &mut Box<dyn Session>, seed: u64, step: usize, numbers: &mut RandomNumbers) {
    let path = numbers.of(&["n0", "n1", "d0/n0", "d0/d1/n2", "d1", "new/x"]).to_owned();
    let what = numbers.below(6);
    let place = format!("seed {seed}, step {step}, kind {what}, path {path}");
    if what == 0 {
        let content = vec![b'y'; [0, 10, 300_000][numbers.below(3)]];
        match session.write_file(InputFile { path, content: content.into() }).await {
            Ok(()) | Err(Error::Invalid { .. }) => return,
            Err(error) => panic!("{place}: {error:?}"),
        }
    }
    let code = step % 3;
    let (language, text, filename) = match what {
        1 | 2 => {
            let text = format!("import sys\nprint({step}, sys.stdin.read())\nsys.exit({code})");
            (Language::PYTHON, text, None)
        }
        3 | 4 => (Language::BASH, format!("echo {step} $(cat)\nexit {code}"), None),
        _ => (Language::BASH, format!("echo {step} $(cat)\nexit {code}"), Some(path)),
    };
    let is_named = filename.is_some();
    let request = ExecutionRequest {
        language: language.clone(),
        filename,
        stdin: b"in".to_vec().into(),
        wall: Some(WALL),
        ..ExecutionRequest::python(text)
    };
    let result = match session.execute(request).await {
        Ok(result) => result,
        Err(Error::Invalid { .. }) if is_named => return,
        Err(error) => panic!("{place}: {error:?}"),
    };
    // A block whose own file the script may replace can end in many ways, but not by the driver.
    let is_touched = is_named || (seed % 2 == 1 && language != Language::PYTHON);
    let is_whole = result.outcome == Outcome::Exited { code: code as i32 }
        && result.stdout.text() == format!("{step} in\n");
    let is_plausible = match &result.outcome {
        Outcome::Exited { .. } => true,
        Outcome::LimitExceeded { limit } => *limit == Limit::Wall,
        _ => false,
    };
    assert!(is_whole || (is_touched && is_plausible), "{place}: {result:?}");
    let sound = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    assert!(result.artifacts.iter().all(|file| sound(&file.path)), "{place}");
}

async fn round(seed: u64) -> usize {
    let mut numbers = RandomNumbers(seed);
    let mut live = session(seed).await;
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        steps += 1;
        let began = Instant::now();
        step(&mut live, seed, steps, &mut numbers).await;
        assert!(began.elapsed() < HANGS, "seed {seed}, step {steps}: {:?}", began.elapsed());
    }
    // The script still runs, unless a block was stopped, and the worker has never been lost to it.
    let request = ExecutionRequest::python("print('end')");
    assert_eq!(live.execute(request).await.unwrap().stdout.text(), "end\n", "seed {seed}");
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_change_under_the_driver() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let time = Duration::from_secs(number("CELLBLOCK_FUZZ_SECONDS", SECONDS));
    let mut seed = number("CELLBLOCK_FUZZ_SEED", 1);
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < time {
        // One seed leaves files of blocks alone, the other does not.
        let (one, other) = tokio::join!(tokio::spawn(round(seed)), tokio::spawn(round(seed + 1)));
        steps += one.unwrap() + other.unwrap();
        seed += 2;
    }
    println!("{steps} calls, up to seed {seed}");
    assert!(steps > 20, "only {steps} calls");
}
