//! The recipe of the image `docker-python`: the files that it is made from, and the name that
//! follows from them.

use crate::names::{DEFAULT_IMAGE, IMAGE_REPOSITORY, ROOT_REPOSITORY, hash};

/// The first way, on a registry's image.
const DOCKERFILE: &str = include_str!("../../../sandbox-images/docker-python/Dockerfile");
/// The libraries that both ways install.
pub const REQUIREMENTS: &str =
    include_str!("../../../sandbox-images/docker-python/requirements.txt");
/// The second way: the script that makes a root from Debian's packages.
pub const DEBIAN: &str = include_str!("../../../sandbox-images/docker-python/debian.sh");
/// The program that installs the requirements into a root.
pub const PREPARE: &str = concat!(include_str!("pip.py"), include_str!("prepare.py"));
/// The languages that the image runs, whichever way it was made. `tests/it/image.rs` compares them
/// with those that a driver finds.
pub const IMAGE_LANGUAGES: &str = "python,bash,sh,perl";

/// Returns the name by which the engine knows an image. The name of `docker-python` changes with
/// the recipe, so that the image is never older than the program.
pub fn image_reference(name: &str) -> String {
    if name == DEFAULT_IMAGE { format!("{IMAGE_REPOSITORY}:{}", tag()) } else { name.to_owned() }
}

/// Returns the name of the root from Debian's packages.
pub fn root_reference() -> String {
    format!("{ROOT_REPOSITORY}:{}", tag())
}

/// Returns the registry's image that the Dockerfile starts from.
pub fn base_image() -> &'static str {
    DOCKERFILE.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap_or_default().trim()
}

/// Returns the tag of the image: a hash of the recipe.
pub fn tag() -> String {
    hash(&[DOCKERFILE, REQUIREMENTS, DEBIAN, PREPARE].join("\0"))[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{LANGUAGES_LABEL, RECIPE_LABEL};

    #[test]
    fn the_dockerfile_says_the_same_as_the_recipe() {
        assert!(DOCKERFILE.contains(&format!("{LANGUAGES_LABEL}={IMAGE_LANGUAGES}")));
        assert!(DOCKERFILE.contains(&format!("{RECIPE_LABEL}=dockerfile")));
        assert_eq!(DOCKERFILE.lines().filter(|line| line.starts_with("FROM ")).count(), 1);
    }

    #[test]
    fn every_requirement_is_pinned_by_hash() {
        let text = REQUIREMENTS.replace("\\\n", " ");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 5);
        for line in lines {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
    }
}
