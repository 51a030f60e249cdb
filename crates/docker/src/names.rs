//! The names of our things in an engine: images, repositories and labels.

use sha2::{Digest, Sha256};

/// The name of the image that cellblock makes itself.
pub const DEFAULT_IMAGE: &str = "docker-python";

/// The repository of the default image.
pub const IMAGE_REPOSITORY: &str = "cellblock/docker-python";
/// The repository of a root from Debian's packages, until the image is made of it.
pub const ROOT_REPOSITORY: &str = "cellblock/docker-python-root";
/// The repository of layers with packages.
pub const PACKAGES_REPOSITORY: &str = "cellblock-packages";

/// The label with the owner of a container or volume.
pub const OWNER_LABEL: &str = "cellblock.owner";
/// The label with our version, on all containers of ours.
pub const VERSION_LABEL: &str = "cellblock.version";
/// The label with the container that a volume belongs to.
pub const CONTAINER_LABEL: &str = "cellblock.container";
/// The label of the default image with the way in which it was made.
pub const RECIPE_LABEL: &str = "cellblock.recipe";
/// The label with the languages that an image runs, separated by commas.
pub const LANGUAGES_LABEL: &str = "cellblock.languages";
/// The label with the packages of a layer, as a JSON list of `name==version`.
pub const PACKAGES_LABEL: &str = "cellblock.packages";

/// Returns the SHA-256 hash of a text as hexadecimal digits.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
