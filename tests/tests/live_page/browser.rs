//! Headless Chromium, driven over its DevTools protocol: opens a page and evaluates JavaScript in it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::WAIT;
use tempfile::TempDir;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page; ends when dropped.
pub(crate) struct Browser {
    process: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    calls: u64,
    // Last: removed after the process has ended.
    _profile: TempDir,
}

/// The first browser in PATH.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|file| file.is_file())
}

impl Browser {
    /// Opens `url` in a window of the size of a phone.
    pub(crate) fn open(program: &Path, url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0", "--window-size=390,844"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = port(profile.path());
        let address = page_address(port);
        let (socket, _) = tungstenite::connect(address).unwrap();
        Self { process, socket, calls: 0, _profile: profile }
    }

    /// The value of a JavaScript expression in the page, or what it threw.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value, String> {
        self.calls += 1;
        let id = self.calls;
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let call = json!({"id": id, "method": "Runtime.evaluate", "params": parameters});
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == id {
                let thrown = &answer["result"]["exceptionDetails"]["exception"]["description"];
                if let Some(thrown) = thrown.as_str() {
                    return Err(thrown.to_owned());
                }
                return Ok(answer["result"]["result"]["value"].take());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The port the browser chose, which it writes into its profile.
fn port(profile: &Path) -> u16 {
    let file = profile.join("DevToolsActivePort");
    wait_for(|| fs::read_to_string(&file).ok()?.lines().next()?.parse().ok())
}

fn page_address(port: u16) -> String {
    let list = format!("http://127.0.0.1:{port}/json/list");
    wait_for(|| {
        let text = ureq::get(&list).call().ok()?.body_mut().read_to_string().ok()?;
        let targets: Value = serde_json::from_str(&text).ok()?;
        let page = targets.as_array()?.iter().find(|target| target["type"] == "page")?.clone();
        page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
    })
}

fn wait_for<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "the browser did not start within {WAIT:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
