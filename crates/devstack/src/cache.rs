//! The cache of downloaded servers: one directory per version, complete or absent.
//!
//! A directory is filled under another name, each file is checked against the pinned manifest, and then it is renamed,
//! all under a lock: two runs that start at once download once. The copy of the manifest is written last, so a later
//! start compares only that and the sizes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, io_error};

const MANIFEST: &str = "manifest.sha256";

/// A download.
pub(crate) struct Artifact<'a> {
    /// Name and version; also the name of its directory.
    pub(crate) name: &'a str,
    /// One line per file: sha256, size, name.
    pub(crate) manifest: &'a str,
    /// Disk space the download needs at most, in MB.
    pub(crate) needed_mb: u64,
    /// Puts the files of the manifest into the given empty directory; further files are ignored.
    pub(crate) fetch: &'a Fetch<'a>,
}

type Fetch<'a> = dyn Fn(&Path) -> Result<(), Error> + 'a;

/// The root of the cache: `$XDG_CACHE_HOME/millrace` or `~/.cache/millrace`.
pub(crate) fn root() -> Result<PathBuf, Error> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("millrace")).ok_or(Error::NoCacheDirectory)
}

/// The directory of a complete artifact, downloaded first if it is not there yet.
pub(crate) fn ensure(root: &Path, artifact: &Artifact<'_>) -> Result<PathBuf, Error> {
    let directory = root.join(artifact.name);
    if is_complete(&directory, artifact.manifest) {
        return Ok(directory);
    }
    fs::create_dir_all(root).map_err(io_error("create", root))?;
    let _lock = lock(&root.join(format!("{}.lock", artifact.name)))?;
    // Another run may have completed it while this one waited for the lock.
    if is_complete(&directory, artifact.manifest) {
        return Ok(directory);
    }

    let partial = root.join(format!("{}.partial", artifact.name));
    remove(&partial)?;
    fs::create_dir(&partial).map_err(io_error("create", &partial))?;
    require_space(root, artifact.needed_mb)?;
    let filled = (artifact.fetch)(&partial).and_then(|()| verify(&partial, artifact.manifest));
    if let Err(error) = filled {
        remove(&partial)?;
        return Err(error);
    }
    let manifest = partial.join(MANIFEST);
    fs::write(&manifest, artifact.manifest).map_err(io_error("write", &manifest))?;
    remove(&directory)?;
    fs::rename(&partial, &directory).map_err(io_error("rename", &partial))?;
    Ok(directory)
}

/// Waits for an exclusive lock; it is released when the file is dropped or the process ends.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).append(true).open(path).map_err(io_error("open", path))?;
    file.lock().map_err(io_error("lock", path))?;
    Ok(file)
}

/// Fails with [`Error::DiskFull`] if the file system of `path` has less space than `needed_mb`.
pub(crate) fn require_space(path: &Path, needed_mb: u64) -> Result<(), Error> {
    let stat = rustix::fs::statvfs(path).map_err(|error| io_error("inspect", path)(error.into()))?;
    let free_mb = stat.f_bavail.saturating_mul(stat.f_frsize) / 1_000_000;
    if free_mb < needed_mb {
        let detail = format!("{needed_mb} MB are needed and {free_mb} MB are free");
        return Err(Error::DiskFull { path: path.to_path_buf(), detail });
    }
    Ok(())
}

struct PinnedFile<'a> {
    sha256: &'a str,
    bytes: u64,
    name: &'a str,
}

fn files(manifest: &str) -> impl Iterator<Item = PinnedFile<'_>> {
    manifest.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        Some(PinnedFile { sha256: words.next()?, bytes: words.next()?.parse().ok()?, name: words.next()? })
    })
}

fn is_complete(directory: &Path, manifest: &str) -> bool {
    fs::read_to_string(directory.join(MANIFEST)).is_ok_and(|copy| copy == manifest)
        && files(manifest).all(|file| {
            fs::metadata(directory.join(file.name)).is_ok_and(|metadata| metadata.len() == file.bytes)
        })
}

fn verify(directory: &Path, manifest: &str) -> Result<(), Error> {
    for file in files(manifest) {
        let path = directory.join(file.name);
        let found = if path.is_file() { sha256(&path)? } else { "missing".to_owned() };
        if found != file.sha256 {
            return Err(Error::Checksum {
                file: file.name.to_owned(),
                expected: file.sha256.to_owned(),
                found,
            });
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", directory)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    // sha256 of "hello", from sha256sum.
    const GREETING: &str =
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  5  greeting.txt\n";

    fn artifact<'a>(fetch: &'a Fetch<'a>) -> Artifact<'a> {
        Artifact { name: "greeting-1", manifest: GREETING, needed_mb: 1, fetch }
    }

    fn write(text: &'static str) -> impl Fn(&Path) -> Result<(), Error> {
        move |directory| fs::write(directory.join("greeting.txt"), text).map_err(io_error("write", directory))
    }

    #[test]
    fn two_starts_at_once_download_once() {
        let cache = tempfile::tempdir().unwrap();
        let downloads = AtomicUsize::new(0);
        let fetch = |directory: &Path| {
            downloads.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(100));
            write("hello")(directory)
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                let (fetch, cache) = (&fetch, &cache);
                scope.spawn(move || {
                    let directory = ensure(cache.path(), &artifact(fetch)).unwrap();
                    assert_eq!(fs::read_to_string(directory.join("greeting.txt")).unwrap(), "hello");
                });
            }
        });
        assert_eq!(downloads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_file_that_is_not_the_pinned_one_is_an_error_and_is_not_kept() {
        let cache = tempfile::tempdir().unwrap();
        let nothing = |_: &Path| Ok(());
        let fetches: [&Fetch<'_>; 3] = [&write("jello"), &write(""), &nothing];
        for fetch in fetches {
            let error = ensure(cache.path(), &artifact(fetch)).unwrap_err();
            assert!(matches!(error, Error::Checksum { .. }), "{error}");
            assert!(!cache.path().join("greeting-1").exists());
            assert!(!cache.path().join("greeting-1.partial").exists());
        }
    }

    #[test]
    fn a_damaged_or_half_written_cache_is_downloaded_again() {
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("greeting-1");
        fs::create_dir(&directory).unwrap();
        fs::create_dir(cache.path().join("greeting-1.partial")).unwrap();
        ensure(cache.path(), &artifact(&write("hello"))).unwrap();
        fs::write(directory.join("greeting.txt"), "hell").unwrap();
        ensure(cache.path(), &artifact(&write("hello"))).unwrap();
        assert_eq!(fs::read_to_string(directory.join("greeting.txt")).unwrap(), "hello");
    }

    #[test]
    fn too_little_disk_space_is_an_error_before_anything_is_downloaded() {
        let cache = tempfile::tempdir().unwrap();
        let artifact =
            Artifact { needed_mb: u64::MAX, ..artifact(&|_| panic!("downloaded although the disk is full")) };
        let error = ensure(cache.path(), &artifact).unwrap_err();
        assert!(error.to_string().starts_with("disk full: "), "{error}");
    }
}
