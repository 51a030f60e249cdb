//! Checking that this machine has what the executor needs.

use cellblock_exec::{BoxFuture, Check};
use cellblock_packages::Installer;

use crate::{session::NAME, sys};

/// Checks that this machine has what the WebAssembly executor needs.
pub fn checks() -> BoxFuture<'static, Vec<Check>> {
    Box::pin(async {
        let installers: Vec<&str> =
            Installer::find_all().await.iter().map(Installer::name).collect();
        vec![installer_check(&installers), pages_check(sys::can_list_written_pages())]
    })
}

fn installer_check(installers: &[&str]) -> Check {
    let ok = !installers.is_empty();
    let hint = "install uv or pip (Debian: apt-get install python3-pip); images cannot be pulled";
    Check {
        executor: NAME,
        name: "package installer".to_owned(),
        ok,
        found: if ok { installers.join(", ") } else { "none".to_owned() },
        hint: (!ok).then(|| hint.to_owned()),
    }
}

fn pages_check(ok: bool) -> Check {
    let found = if ok { "the kernel lists them" } else { "the kernel cannot list them" };
    let hint = "Linux 6.7 or newer makes fresh executions several times faster; \
                everything works without it";
    Check {
        executor: NAME,
        name: "written pages".to_owned(),
        ok,
        found: found.to_owned(),
        hint: (!ok).then(|| hint.to_owned()),
    }
}
