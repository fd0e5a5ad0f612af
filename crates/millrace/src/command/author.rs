//! Who makes a change: `--by`, or the user and the host.
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Author {
    /// Name for the history of changes; the default is USER@host
    #[arg(long = "by", value_name = "NAME", env = "MILLRACE_USER")]
    by: Option<String>,
}

impl Author {
    pub(super) fn name(&self) -> String {
        if let Some(by) = self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()) {
            return by.to_owned();
        }
        let variable = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        // Users of containers often have a number only.
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let system = rustix::system::uname();
        format!("{user}@{}", system.nodename().to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_author_is_the_given_name_or_user_and_host() {
        let author = |by: &str| Author { by: Some(by.into()) }.name();
        assert_eq!(author(" alice "), "alice");
        for default in [author("  "), Author { by: None }.name()] {
            let (user, host) = default.split_once('@').unwrap();
            assert!(!user.is_empty() && !host.is_empty(), "{default}");
        }
    }
}
