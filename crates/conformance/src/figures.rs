//! Figures become files, where state is claimed and matplotlib can be imported.

use crate::steps::{artifact, artifact_paths, assert_outcome, open, run};
use cellblock_exec::{Executor, Outcome, Session};

/// The first bytes of every PNG file (the PNG specification, section 5.2).
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// True if the session writes figures as files. It must where state is claimed and matplotlib can
/// be imported.
async fn draws(executor: &dyn Executor, session: &mut dyn Session) -> bool {
    let imported = run(session, "import matplotlib.pyplot as plt").await;
    if imported.outcome.is_success() {
        return executor.capabilities().state;
    }
    assert!(imported.stderr.text().contains("ModuleNotFoundError"), "{}", imported.stderr.text());
    false
}

/// `plt.show()` writes `figure-1.png` and closes the figure; two calls write two files.
pub async fn shown_figures_are_files(executor: &dyn Executor) {
    let mut session = open(executor).await;
    if !draws(executor, session.as_mut()).await {
        return;
    }
    let code = "import matplotlib.pyplot as plt\nlines = plt.plot([1, 2, 4])\nplt.show()\n\
                lines = plt.plot([4, 2, 1])\nplt.show()\nprint(plt.get_fignums())";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(result.stdout.text(), "[]\n");
    assert_eq!(artifact_paths(&result), ["figure-1.png", "figure-2.png"]);
    for path in ["figure-1.png", "figure-2.png"] {
        assert_eq!(artifact(&result, path).media_type, "image/png");
        assert!(artifact(&result, path).content.starts_with(PNG));
    }
    assert_ne!(
        artifact(&result, "figure-1.png").content,
        artifact(&result, "figure-2.png").content
    );
}

/// Figures that are open at the end of a block become files, too, and the next block does not draw
/// them again.
pub async fn open_figures_are_files(executor: &dyn Executor) {
    let mut session = open(executor).await;
    if !draws(executor, session.as_mut()).await {
        return;
    }
    let code = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\nbars = \
        axes.bar(['a', 'b'], [1, 2])";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["figure-1.png"]);
    assert!(artifact(&result, "figure-1.png").content.starts_with(PNG));
    let next = run(session.as_mut(), "print('no figure')").await;
    assert_eq!(artifact_paths(&next), [""; 0]);
}

/// A figure that the program saves itself is only where the program says, and a closed figure
/// becomes no file.
pub async fn saved_figures_are_files(executor: &dyn Executor) {
    let mut session = open(executor).await;
    if !draws(executor, session.as_mut()).await {
        return;
    }
    let code = "import os\nimport matplotlib.pyplot as plt\nos.makedirs('out')\nlines = \
        plt.plot([1, 2, 4])\n\
                plt.savefig('out/chart.png')\nplt.close('all')";
    let result = run(session.as_mut(), code).await;
    assert_outcome(&result, &Outcome::Exited { code: 0 });
    assert_eq!(artifact_paths(&result), ["out/chart.png"]);
    assert!(artifact(&result, "out/chart.png").content.starts_with(PNG));
}
