//! What is wrong with a file of cubes. Reading goes on after a mistake, so that all of them are reported together.
use std::fmt;

/// What is wrong with a file of cubes, one entry per mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CubeError {
    /// Never empty.
    pub problems: Vec<CubeProblem>,
}

impl fmt::Display for CubeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CubeProblem {
    /// The cube's name; '' when the file itself cannot be read.
    pub cube: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for CubeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cube.as_str() {
            "" => write!(f, "cubes: {}", self.problem),
            cube => write!(f, "cube `{cube}`: {}", self.problem),
        }
    }
}

/// The value of a result; notes the problem of an error.
pub(super) fn noted<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}
