//! The reset on the real image: after any program, a reused slot equals its image byte for byte.

use cellblock_exec::{ExecutionRequest, Executor, SessionSpec, Silent};

use crate::{ImageStore, Options, WasiExecutor};

/// Ordinary programs, and programs that try to leave something behind.
const PROGRAMS: &[&str] = &[
    "pass",
    "print('hi')",
    "secret = 'hunter2' * 1000",
    "raise ValueError('no')",
    "import sys; sys.exit(3)",
    "import numpy as np; print(np.random.rand(1000).sum())",
    "import pandas as pd; print(pd.DataFrame({'a': range(100)}).describe())",
    "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()",
    // Changes to the code that the next execution would run.
    "import builtins, sys, os; builtins.print = None; sys.modules.clear(); os.environ['A'] = 'b'",
    "import _cellblock; _cellblock.run = None; __builtins__.__cellblock__ = None",
    "import gc; gc.unfreeze(); gc.collect(); gc.disable()",
    "import sys; sys.setrecursionlimit(5); sys.stdout.close(); sys.stderr.close()",
    "import os; os.closerange(0, 100)",
    "import os; [os.close(n) for n in range(3, 20)]",
    "def deep(n): return deep(n + 1)\ndeep(0)",
    "import sys\nsys.setrecursionlimit(10**9)\ndef deep(n): return deep(n + 1)\ndeep(0)",
    "x = bytearray(30_000_000); x[:] = b'x' * len(x)",
    "x = [bytes([n % 256]) * 4096 for n in range(40_000)]",
    "import os; os._exit(1)",
    "import os; os.abort()",
    "while True: print('x' * 1000)",
    "while True: pass",
    "import time; time.sleep(60)",
    "open('a', 'w').write('x' * 1000); import os; os.symlink('/etc/passwd', 'b')",
    // Bytes of another type in the place of objects.
    "import sys\nd = {}\nfor n in range(100_000): d[n] = str(n)\ndel d",
];

#[tokio::test]
async fn a_used_slot_equals_its_image() {
    let store = ImageStore::in_user_cache().unwrap();
    let executor = WasiExecutor::start(store, Options { idle: 1, ..Options::default() }, &Silent)
        .await
        .unwrap();
    let template = executor.template();
    let mut reused = 0;
    for program in PROGRAMS {
        let mut session = executor.open(SessionSpec::default()).await.unwrap();
        let mut request = ExecutionRequest::python(*program);
        request.wall = Some(std::time::Duration::from_secs(3));
        session.execute(request).await.unwrap();
        session.close().await.unwrap();
        let mut slot = template.acquire().await.unwrap();
        assert!(slot.bytes() == template.image.bytes(), "after {program}");
        assert!(slot.is_at_rest(), "after {program}");
        reused += usize::from(slot.was_used);
        template.release(slot);
    }
    // The reset is useless unless slots are reused after most programs.
    assert!(reused > PROGRAMS.len() / 2, "only {reused} of {} slots were reused", PROGRAMS.len());
}
