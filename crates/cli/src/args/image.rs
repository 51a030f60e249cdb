//! Arguments of `cellblock image`.

use cellblock_exec::Requirement;
use clap::Subcommand;

/// Commands on images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Fetch an image and prepare it for sessions
    ///
    /// `python` is the image of the WebAssembly executor, which also fetches it on first use.
    /// `docker-python` is built in the Docker engine: from the registry's Python image if the
    /// engine can pull it, else from Debian packages. The engine pulls any other name with a `/` or
    /// a `:`.
    Pull {
        /// Name of the image
        #[arg(default_value = "python")]
        name: String,
    },
    /// List the images
    List {
        /// Print one JSON array: executor, name, state (ready, not_pulled, old or damaged), why,
        /// python, bytes and packages of each image
        #[arg(long)]
        json: bool,
    },
    /// Remove an image
    Remove {
        /// Name of the image
        name: String,
    },
    /// Remove files that no image needs: those of earlier versions, and packages of past sessions
    Prune,
    /// Read an image again and compare it with its hashes; exit status 1 if it is damaged
    Verify {
        /// Name of the image
        #[arg(default_value = "python")]
        name: String,
    },
    /// Create an image with more packages, already imported, so that sessions start with them
    #[command(
        after_help = "Example: cellblock image extend charts --from python plotnine humanize"
    )]
    Extend {
        /// Name of the new image
        name: String,
        /// Image to start from
        #[arg(long, value_name = "NAME", default_value = "python")]
        from: String,
        /// Packages to install, such as `humanize` or `'plotnine>=0.14'`
        #[arg(required = true, value_parser = requirement)]
        packages: Vec<Requirement>,
    },
}

fn requirement(text: &str) -> Result<Requirement, String> {
    Requirement::try_from(text.to_owned()).map_err(|error| error.to_string())
}
