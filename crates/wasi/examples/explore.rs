#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use cellblock_exec::*;
use cellblock_wasi::*;
struct P;
impl Progress for P {
    fn step(&self, step: &str) {
        println!("[{step}]");
    }
    fn advance(&self, done: u64, total: u64) {
        if done % 97 == 0 {
            println!("  {done}/{total}");
        }
    }
    fn finish(&self) {}
}
#[tokio::main]
async fn main() {
    let t = std::time::Instant::now();
    let ex = WasiExecutor::start(ImageStore::in_user_cache().unwrap(), Options::default(), &P).await;
    let ex = match ex {
        Ok(ex) => ex,
        Err(e) => {
            println!("{e}: {:?}", std::error::Error::source(&e));
            return;
        }
    };
    println!("start {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let mut s = ex.open(SessionSpec::default()).await.unwrap();
    println!("open {:?}", t.elapsed());
    for arg in std::env::args().skip(1) {
        let code = if let Some(f) = arg.strip_prefix('@') { std::fs::read_to_string(f).unwrap() } else { arg };
        let t = std::time::Instant::now();
        let r = s.execute(ExecutionRequest::python(code)).await;
        let d = t.elapsed();
        match r {
            Ok(r) => {
                println!(
                    "--- {:?} {:?} lost={} cpu={:?} mem={}MB",
                    d,
                    r.outcome,
                    r.state_lost,
                    r.usage.cpu,
                    r.usage.memory >> 20
                );
                print!("{}", r.stdout.text());
                print!("{}", r.stderr.text());
                for a in r.artifacts {
                    println!("artifact {} {} {}", a.path, a.media_type, a.bytes);
                    std::fs::write(format!("/tmp/w/{}", a.path.replace('/', "_")), &*a.content).unwrap();
                }
                for a in r.refused {
                    println!("refused {a:?}");
                }
            }
            Err(e) => println!("--- {:?} ERR {e} {:?}", d, std::error::Error::source(&e)),
        }
    }
}
