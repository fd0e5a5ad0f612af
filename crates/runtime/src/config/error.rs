//! Mistakes in the configuration. Each is one line that names the key, its value and what is allowed.
use std::{collections::BTreeMap, fmt};

/// Why the configuration cannot be used: one line for each mistake. Exit code 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    /// The key; empty for a mistake of the whole file.
    key: String,
    /// The whole sentence.
    problem: String,
    /// The line of the file or the environment variable that sets the key.
    origin: Option<String>,
}

/// For each key that the default does not decide: the line of the file or the environment variable that sets it.
pub(crate) type Origins = BTreeMap<String, String>;

impl ConfigError {
    /// A value that its key does not allow.
    pub fn value(key: impl Into<String>, value: impl AsRef<str>, expected: impl fmt::Display) -> Self {
        let key = key.into();
        let problem = format!("{key} = {:?} is not {expected}", without_secrets(value.as_ref()));
        Self::of(key, problem)
    }

    /// A mistake of a key; `problem` is the whole sentence.
    pub fn of(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { mistakes: vec![Mistake { key: key.into(), problem: problem.into(), origin: None }] }
    }

    /// The same mistakes, with the places where their keys are set.
    #[must_use]
    pub(crate) fn located(mut self, origins: &Origins) -> Self {
        for mistake in &mut self.mistakes {
            if mistake.origin.is_none() {
                mistake.origin = origins.get(&mistake.key).cloned();
            }
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { problem, origin, .. }) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(origin) = origin {
                write!(f, "{origin}: ")?;
            }
            // A mistake is one line, whatever text it quotes.
            f.write_str(&problem.replace('\n', " "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects mistakes, so that one run shows all of them.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds the mistakes of an error.
    pub fn add(&mut self, error: ConfigError) {
        self.0.extend(error.mistakes);
    }

    /// Adds the mistakes of a check that failed.
    pub fn check<T>(&mut self, checked: Result<T, ConfigError>) {
        if let Err(error) = checked {
            self.add(error);
        }
    }

    /// # Errors
    /// There is at least one mistake.
    pub fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { mistakes: self.0 }) }
    }
}

/// The text with `***` instead of what may be a secret: a user and a password before a host, the parameters of a URL, and
/// everything in the place of a name that is a secret itself.
fn without_secrets(text: &str) -> String {
    if text.contains('\n') || text.contains("-----BEGIN") {
        return "***".to_owned();
    }
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let parameters = ['?', '#'];
    let (user, address) = match rest.rsplit_once('@') {
        // The @ may be that of a parameter, or the ? that of a password.
        Some((before, _)) if before.contains(parameters) => return format!("{scheme}***"),
        Some((_, address)) => ("***@", address),
        None => ("", rest),
    };
    match address.find(parameters) {
        Some(place) => format!("{scheme}{user}{}***", &address[..=place]),
        None => format!("{scheme}{user}{address}"),
    }
}
