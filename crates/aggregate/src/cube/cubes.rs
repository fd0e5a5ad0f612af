//! The cubes of a pipeline: the built-in ones and those of a file.
use super::definition::Cube;
use super::pane::CubeLane;
use super::problem::{CubeError, CubeProblem};
use super::{check, read};

/// The cubes the program was built with.
pub const BUILT_IN: &str = include_str!("../../../../schemas/cubes.toml");
/// Prefix of the name of a cube that is not built in.
pub const CUSTOM: &str = "custom_";

/// All cubes of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Cubes {
    /// In the order of their files.
    pub cubes: Vec<Cube>,
}

impl Cubes {
    /// Reads and checks a file that holds all cubes.
    ///
    /// # Errors
    /// [`CubeError`] names every mistake and what to do.
    pub fn parse(text: &str) -> Result<Self, CubeError> {
        let (cubes, problems) = read::file(text);
        Self::checked(cubes, problems)
    }

    /// The built-in cubes and those of a file: a cube with the name of a built-in one replaces it, the name of any other
    /// begins with `custom_`.
    ///
    /// # Errors
    /// [`CubeError`] names every mistake and what to do.
    pub fn built_in_with(text: &str) -> Result<Self, CubeError> {
        let (mut cubes, mut problems) = read::file(BUILT_IN);
        let (more, more_problems) = read::file(text);
        problems.extend(more_problems);
        let mut replaced = Vec::new();
        for cube in more {
            let known = cubes.iter().position(|built_in| built_in.name == cube.name);
            match known.filter(|index| !replaced.contains(index)) {
                Some(index) => {
                    replaced.push(index);
                    cubes[index] = cube;
                }
                None => {
                    if known.is_none() && !cube.name.starts_with(CUSTOM) {
                        let problem = format!(
                            "there is no built-in cube of this name: call your own `{CUSTOM}{}`",
                            cube.name
                        );
                        problems.push(CubeProblem { cube: cube.name.clone(), problem });
                    }
                    cubes.push(cube);
                }
            }
        }
        Self::checked(cubes, problems)
    }

    fn checked(cubes: Vec<Cube>, mut problems: Vec<CubeProblem>) -> Result<Self, CubeError> {
        problems.extend(check::together(&cubes));
        if problems.is_empty() { Ok(Self { cubes }) } else { Err(CubeError { problems }) }
    }

    /// The cubes that a lane writes.
    pub fn of_lane(&self, lane: CubeLane) -> impl Iterator<Item = &Cube> {
        self.cubes.iter().filter(move |cube| cube.panes_of(lane).next().is_some())
    }

    /// The cube of this name.
    pub fn get(&self, name: &str) -> Option<&Cube> {
        self.cubes.iter().find(|cube| cube.name == name)
    }
}
