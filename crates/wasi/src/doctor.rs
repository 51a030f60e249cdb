//! Looking whether this machine has what the executor needs.

use cellblock_exec::Check;
use cellblock_packages::Installer;

use crate::{memory::sys, session::NAME};

/// Looks at what the WebAssembly executor needs of this machine.
pub async fn checks() -> Vec<Check> {
    let installers: Vec<&str> = Installer::find_all().await.iter().map(Installer::name).collect();
    let has_installer = !installers.is_empty();
    let lists_pages = sys::can_list_written_pages();
    vec![
        Check {
            executor: NAME,
            name: "package installer".to_owned(),
            ok: has_installer,
            found: if has_installer { installers.join(", ") } else { "none".to_owned() },
            hint: (!has_installer)
                .then(|| "install uv or pip (Debian: apt-get install python3-pip); images cannot be pulled".to_owned()),
        },
        Check {
            executor: NAME,
            name: "written pages".to_owned(),
            ok: lists_pages,
            found: if lists_pages { "the kernel lists them" } else { "the kernel cannot list them" }.to_owned(),
            hint: (!lists_pages).then(|| {
                "Linux 6.7 or newer makes fresh executions several times faster; everything works without".to_owned()
            }),
        },
    ]
}
