//! `devstack host-clickhouse`: a ClickHouse server that is killed together with its parent.
//!
//! The only unsafe code of the workspace: one call of a C function of the pinned library, which returns only on an
//! error.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::process::ExitCode;

use libloading::{Library, Symbol};

use super::{failure::Failure, parent::die_with};

/// Become a ClickHouse server by calling LIBRARY, killed when PARENT ends
#[derive(Debug, clap::Args)]
pub(crate) struct HostClickHouse {
    /// Process id of the parent.
    #[arg(long)]
    parent: i32,
    /// Path of libchdb.so.
    #[arg(long)]
    library: PathBuf,
    /// ClickHouse's own arguments.
    #[arg(last = true)]
    args: Vec<String>,
}

type QueryStable = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;

impl HostClickHouse {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        die_with(self.parent)?;
        let args = std::iter::once("clickhouse".to_owned()).chain(self.args).map(CString::new);
        let args = args.collect::<Result<Vec<CString>, _>>()?;
        // The `argv` of C: writable strings that are never freed, and a null pointer behind the last one.
        let mut argv: Vec<*mut c_char> = args.into_iter().map(CString::into_raw).collect();
        let argc = c_int::try_from(argv.len())?;
        argv.push(std::ptr::null_mut());
        serve(&self.library, argc, argv.as_mut_ptr())?;
        Err("clickhouse ended; its error is in the lines above".into())
    }
}

#[expect(unsafe_code, reason = "the library has a C interface only")]
fn serve(library: &std::path::Path, argc: c_int, argv: *mut *mut c_char) -> Result<(), libloading::Error> {
    // SAFETY: the library is the pinned one, checked when it was downloaded; loading it runs only its own
    // constructors, on the main thread, before any other thread exists.
    let library = unsafe { Library::new(library) }?;
    // SAFETY: `query_stable_v2(int, char**) -> local_result_v2*` in chdb.h of this version.
    let query: Symbol<'_, QueryStable> = unsafe { library.get(b"query_stable_v2\0") }?;
    // SAFETY: `argv` holds `argc` valid strings and a null, none of them freed before this process ends. The result
    // is not used.
    unsafe { query(argc, argv) };
    Ok(())
}
