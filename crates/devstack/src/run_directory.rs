//! The data directory of one run: removed at its end, or by the next start if its owner was killed.
//!
//! It stands in the cache directory and not in the temporary one, which is memory on many machines.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::cache;
use crate::error::{Error, io_error};

const LOCK: &str = "lock";
const NEEDED_MB: u64 = 500;

/// A directory that belongs to this process as long as the value lives.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Removes what killed runs have left below `cache` and makes a new directory there.
    pub(crate) fn create(cache: &Path) -> Result<Self, Error> {
        let runs = cache.join("runs");
        fs::create_dir_all(&runs).map_err(io_error("create", &runs))?;
        cache::require_space(&runs, NEEDED_MB)?;
        // Without it a start could sweep the directory another one has made but not locked yet.
        let _creation = cache::lock(&cache.join("runs.lock"))?;
        sweep(&runs);
        let path = runs.join(format!("{}-{:08x}", std::process::id(), rand::random::<u32>()));
        fs::create_dir(&path).map_err(io_error("create", &path))?;
        let lock = cache::lock(&path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    /// Makes a directory inside.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        Ok(path)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let is_held = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
        if !is_held {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_nobody_holds_is_swept_and_a_held_one_stays() {
        let cache = tempfile::tempdir().unwrap();
        let held = RunDirectory::create(cache.path()).unwrap();
        let left_by_a_killed_run = cache.path().join("runs/1-dead");
        fs::create_dir(&left_by_a_killed_run).unwrap();
        fs::write(left_by_a_killed_run.join(LOCK), "").unwrap();

        let next = RunDirectory::create(cache.path()).unwrap();
        assert!(!left_by_a_killed_run.exists());
        assert!(held.path.exists() && next.path.exists());

        let path = next.path.clone();
        drop(next);
        assert!(!path.exists());
    }
}
