//! The data directory of one run: removed when the run ends, or by the next start if the run was killed.
//!
//! It is in the cache directory because `/tmp` is in memory on many machines.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::cache;
use crate::error::{Error, io_error};

const LOCK: &str = "lock";
const NEEDED_MB: u64 = 500;

/// A locked directory; removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Removes the directories of killed runs below `cache` and creates a new one.
    pub(crate) fn create(cache: &Path) -> Result<Self, Error> {
        let runs = cache.join("runs");
        fs::create_dir_all(&runs).map_err(io_error("create", &runs))?;
        cache::require_space(&runs, NEEDED_MB)?;
        // Without it a start could remove the directory that another one has created and not locked yet.
        let _creation = cache::lock(&cache.join("runs.lock"))?;
        remove_unlocked(&runs);
        let path = runs.join(format!("{}-{:08x}", std::process::id(), fastrand::u32(..)));
        fs::create_dir(&path).map_err(io_error("create", &path))?;
        let lock = cache::lock(&path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    /// Creates a directory inside.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        Ok(path)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn remove_unlocked(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let is_locked = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
        if !is_locked {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_killed_run_is_removed_and_that_of_a_running_one_stays() {
        let cache = tempfile::tempdir().unwrap();
        let running = RunDirectory::create(cache.path()).unwrap();
        let killed = cache.path().join("runs/1-dead");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();

        let next = RunDirectory::create(cache.path()).unwrap();
        assert!(!killed.exists());
        assert!(running.path.exists() && next.path.exists());

        let path = next.path.clone();
        drop(next);
        assert!(!path.exists());
    }
}
