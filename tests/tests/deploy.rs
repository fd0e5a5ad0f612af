//! What `deploy/` and `docker-compose.yml` name exists: there is no container engine here, so the files themselves are
//! compared with the tree, with the configuration the code knows and with the metrics it reports.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const ENVIRONMENT_PREFIX: &str = "MILLRACE__";
const STAGES: [&str; 3] = ["ingest", "enrich", "aggregate"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    yaml("docker-compose.yml")
}

fn services(compose: &Value) -> Vec<(&str, &Value)> {
    compose["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service)).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Files below `directory` whose names end in `ending`.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(directory), ending, &mut found);
    found
}

#[test]
fn every_path_that_compose_mounts_or_builds_from_exists() {
    let compose = compose();
    let volumes = compose["volumes"].as_object().unwrap();
    let mut seen = 0;
    for (name, service) in services(&compose) {
        for mount in texts(&service["volumes"]) {
            let source = mount.split(':').next().unwrap();
            if source.starts_with('.') {
                assert!(root().join(source).exists(), "{name} mounts {source}, which does not exist");
                assert!(mount.ends_with(":ro"), "{name} could change our tree through {mount}");
            } else {
                assert!(volumes.contains_key(source), "{name} mounts the unknown volume {source}");
            }
            seen += 1;
        }
        if let Some(dockerfile) = service["build"]["dockerfile"].as_str() {
            assert!(
                root().join(dockerfile).exists(),
                "{name} is built from {dockerfile}, which does not exist"
            );
        }
    }
    assert!(seen >= 10, "only {seen} mounts were looked at");
}

#[test]
fn every_millrace_variable_in_compose_is_a_key_of_the_configuration() {
    let known: BTreeSet<String> = runtime::config::known_keys().unwrap().into_iter().collect();
    let mut seen = 0;
    for (name, service) in services(&compose()) {
        for variable in service["environment"].as_object().into_iter().flatten().map(|(variable, _)| variable)
        {
            let Some(key) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let key = key.to_lowercase().replace("__", ".");
            assert!(known.contains(&key), "{name} sets {variable}, but there is no key {key}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} variables were looked at");
}

#[test]
fn compose_has_no_password_and_every_secret_file_is_created() {
    let compose = compose();
    let create = texts(&compose["services"]["secrets"]["command"]).concat();
    let mut seen = 0;
    for (name, service) in services(&compose) {
        let variables = service["environment"].as_object().into_iter().flatten();
        for (variable, value) in variables {
            if !["PASSWORD", "SECRET"].iter().any(|word| variable.contains(word)) {
                continue;
            }
            let value = value.as_str().unwrap();
            let file = value.strip_prefix("/run/").and_then(|file| file.split_once('/'));
            let (volume, _) =
                file.unwrap_or_else(|| panic!("{name} has the value of {variable}, not its file"));
            assert!(create.contains(&format!("create {value} ")), "{name}: nobody creates {value}");
            assert!(
                texts(&service["volumes"]).contains(&&*format!("{volume}:/run/{volume}:ro")),
                "{name} does not mount {value}"
            );
            seen += 1;
        }
        assert!(!service.to_string().contains(":-"), "{name} has a default that everybody knows");
    }
    assert!(seen >= 6, "only {seen} secrets were looked at");
}

#[test]
fn a_container_mounts_only_secrets_that_it_needs() {
    let compose = compose();
    let mounted = |volume: &str| -> Vec<&str> {
        let mount = format!("{volume}:/run/{volume}:ro");
        let services = services(&compose).into_iter();
        services
            .filter(|(_, service)| texts(&service["volumes"]).contains(&&*mount))
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(mounted("enrich-secrets"), ["enrich"]);
    assert_eq!(mounted("grafana-secrets"), ["clickhouse", "grafana"]);
    assert!(!mounted("secrets").contains(&"grafana"));
    let create = texts(&compose["services"]["secrets"]["command"]).concat();
    let created: Vec<&str> =
        create.lines().filter_map(|line| line.trim().strip_prefix("create /run/")).collect();
    let shared: Vec<&&str> = created.iter().filter(|file| file.starts_with("secrets/")).collect();
    assert!(created.len() == 4 && shared.len() == 1, "{created:?}");
}

#[test]
fn the_notice_names_everything_that_the_binaries_contain_with_its_licence() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("sh");
    // The script runs the cargo of the workspace, as the image build does.
    let output = command.arg("deploy/notice.sh").arg(directory.path()).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let notice = fs::read_to_string(directory.path().join("NOTICE")).unwrap();
    for name in ["rdkafka-sys", "openssl-src", "rustls"] {
        let crate_line = notice.lines().find(|line| line.starts_with(&format!("{name} v")));
        let (crate_name, _) = crate_line.unwrap_or_else(|| panic!("no {name}")).split_once(" (").unwrap();
        let licences = directory.path().join("licenses").join(crate_name.replace(" v", "-"));
        assert!(fs::read_dir(&licences).unwrap().count() > 0, "{}", licences.display());
    }
    assert!(!notice.contains("\ncc v"), "a dependency of build scripts only is not in the binaries");
}

#[test]
fn every_image_is_pinned_to_a_version() {
    let mut images: Vec<String> = Vec::new();
    for (name, service) in services(&compose()) {
        images.push(service["image"].as_str().unwrap_or_else(|| panic!("{name} has no image")).to_owned());
    }
    let dockerfile = read("deploy/Dockerfile");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    images.extend(bases.map(|base| base.split(' ').next().unwrap().to_owned()));
    assert!(images.len() >= 10, "{images:?}");
    for image in images {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert!(tag != "latest" && tag.contains(|char: char| char.is_ascii_digit()), "{image} is not pinned");
    }
    for (_, plugin) in compose()["services"]["grafana"]["environment"].as_object().unwrap() {
        let plugin = plugin.as_str().unwrap();
        if plugin.contains("datasource") {
            assert!(plugin.contains('@'), "the plugin {plugin} is not pinned");
        }
    }
}

#[test]
fn whatever_runs_long_is_restarted_and_says_whether_it_is_healthy() {
    let compose = compose();
    let all = services(&compose);
    for stage in STAGES {
        assert!(all.iter().any(|(name, _)| *name == stage), "there is no service {stage}");
    }
    for (name, service) in all {
        let restart = service["restart"].as_str().unwrap_or_else(|| panic!("{name} has no restart policy"));
        if restart == "unless-stopped" {
            let test = texts(&service["healthcheck"]["test"]);
            assert!(test.len() >= 2, "{name} has no health check");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let condition = how["condition"].as_str().unwrap_or_default();
            let dependency = &compose["services"][other];
            match condition {
                "service_healthy" => {
                    assert!(dependency["healthcheck"].is_object(), "{name} waits for {other} for ever")
                }
                "service_completed_successfully" => {
                    assert_ne!(dependency["restart"], "unless-stopped", "{other}")
                }
                _ => panic!("{name} does not wait until {other} is ready: {condition:?}"),
            }
        }
    }
}

#[test]
fn the_dockerfile_copies_what_exists_and_what_its_ignore_file_lets_through() {
    let dockerfile = read("deploy/Dockerfile");
    let ignore = read("deploy/Dockerfile.dockerignore");
    let mut copied = 0;
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "the Dockerfile copies {source}, which does not exist");
            assert!(ignore.lines().any(|line| line == format!("!{source}")), "{source} is ignored");
            copied += 1;
        }
    }
    assert!(copied >= 4, "only {copied} paths are copied");
    for member in ["crates", "schemas", "tests", "Cargo.lock"] {
        assert!(dockerfile.contains(member), "the build needs {member}");
    }
    for binary in STAGES.into_iter().chain(["millrace"]) {
        assert!(dockerfile.contains(&format!("--bin {binary}")), "{binary} is not in the image");
        assert!(root().join(format!("crates/{binary}/src/main.rs")).exists(), "there is no binary {binary}");
    }
}

#[test]
fn prometheus_and_grafana_files_are_what_they_should_be() {
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let compose = compose();
    for rules in texts(&prometheus["rule_files"]) {
        assert!(root().join("deploy/prometheus").join(rules).exists(), "{rules} does not exist");
        let mounts = texts(&compose["services"]["prometheus"]["volumes"]);
        assert!(mounts.iter().any(|mount| mount.contains(rules)), "{rules} is not mounted");
    }
    let jobs: Vec<&str> = prometheus["scrape_configs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|job| job["job_name"].as_str())
        .collect();
    assert_eq!(jobs, STAGES);

    for alert in alerts() {
        let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
        assert!(summary.len() > 20, "{} has no summary", alert["alert"]);
        assert!(alert["labels"]["severity"].is_string(), "{} has no severity", alert["alert"]);
    }

    let sources = yaml("deploy/grafana/provisioning/datasources/millrace.yaml");
    let known: Vec<&str> = sources["datasources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|source| source["uid"].as_str())
        .collect();
    let provider = yaml("deploy/grafana/provisioning/dashboards/millrace.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mounts = texts(&compose["services"]["grafana"]["volumes"]);
    assert!(mounts.iter().any(|mount| mount.contains(&format!(":{path}:"))), "{path} is not mounted");
    for (file, panel) in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let uid = target["datasource"]["uid"].as_str().unwrap_or_default();
            assert!(known.contains(&uid), "{file}: {} reads the unknown data source {uid:?}", panel["title"]);
        }
    }
}

#[test]
fn every_metric_of_alerts_and_dashboards_is_described_and_reported() {
    let (described, reported) = (described(), reported());
    assert!(described.len() >= 30, "only {} metrics are described", described.len());
    assert_eq!(described, reported, "what metric.rs describes and what the code reports differ");

    let mut seen = 0;
    for (place, expression) in expressions() {
        for name in metric_names(&expression) {
            assert!(
                is_series(&name, &described),
                "{place} reads {name}, which no metric.rs describes as it is used here"
            );
            seen += 1;
        }
    }
    assert!(seen >= 30, "only {seen} metrics were looked at");
}

#[test]
fn a_series_that_no_process_ever_shows_is_noticed() {
    let described = BTreeMap::from([
        ("millrace_records_total".to_owned(), "counter"),
        ("millrace_ledger_count".to_owned(), "gauge"),
        ("millrace_process_seconds".to_owned(), "histogram"),
    ]);
    for (name, expected) in [
        ("millrace_records_total", true),
        ("millrace_ledger_count", true),
        ("millrace_process_seconds_bucket", true),
        ("millrace_process_seconds_sum", true),
        ("millrace_process_seconds", false),
        ("millrace_records_total_sum", false),
        ("millrace_record_total", false),
        ("millrace_ledger", false),
    ] {
        assert_eq!(is_series(name, &described), expected, "{name}");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_in_the_words_of_metrics_and_log() {
    let runbook = read("deploy/runbook.md");
    let sections: BTreeMap<&str, &str> =
        runbook.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let described = described();
    let code = code();
    let mut logged = 0;
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let link = format!("deploy/runbook.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], link.as_str(), "{name} does not link its section");
        let section = sections.get(name).unwrap_or_else(|| panic!("the runbook has no section {name}"));
        for part in ["Means", "Do"] {
            let words = paragraph(section, part).split_whitespace().count();
            assert!(words >= 5, "section {name} does not say what it {part}");
        }
        let metrics = quoted(paragraph(section, "Metrics"));
        for series in metric_names(alert["expr"].as_str().unwrap()) {
            let shown = metrics.iter().any(|metric| *metric == series || histogram(&series) == Some(metric));
            assert!(shown, "section {name} does not name {series}");
        }
        for metric in metrics {
            assert!(metric == "up" || described.contains_key(metric), "section {name}: no metric {metric}");
        }
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let reasons = rows.filter_map(|row| row.split('|').nth(1));
        for words in reasons.chain([paragraph(section, "Log")]).flat_map(quoted) {
            assert!(code.contains(words), "section {name}: no code says {words:?}");
            logged += 1;
        }
    }
    assert!(logged >= 15, "only {logged} log lines were looked at");
    let alerts = alerts();
    let alerts: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert["alert"].as_str()).collect();
    let left: Vec<_> = sections.keys().filter(|section| !alerts.contains(*section)).collect();
    assert!(left.is_empty(), "sections of no alert: {left:?}");
}

#[test]
fn an_alert_that_repeats_a_default_follows_it() {
    let settings = runtime::config::load(None).unwrap();
    let alerts = alerts();
    let alert = alerts.iter().find(|alert| alert["alert"] == "DedupeHorizonIsShort").unwrap();
    let bound = alert["expr"].as_str().unwrap().rsplit_once("< ").unwrap().1;
    assert_eq!(bound, settings.enrich.dedupe_window.as_secs().to_string());
}

#[test]
fn every_path_and_heading_that_a_document_links_exists() {
    let mut seen = 0;
    for document in ["README.md", "deploy/runbook.md", "deploy/measurements.md", "schemas/README.md"] {
        let directory = root().join(document).parent().unwrap().to_path_buf();
        for link in links(&read(document)) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(document) } else { directory.join(path) };
            assert!(target.exists(), "{document} links {link}, which does not exist");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let anchors: Vec<String> = text.lines().filter_map(anchor).collect();
                assert!(
                    anchors.iter().any(|anchor| anchor == heading),
                    "{document} links {link}: no such heading"
                );
            }
            seen += 1;
        }
    }
    assert!(seen >= 30, "only {seen} links were checked");
}

#[test]
fn every_page_file_that_clickhouse_serves_is_there_and_asks_only_clickhouse() {
    let config = read("deploy/clickhouse/config.d/millrace.xml");
    let served: Vec<&str> =
        config.split("file://").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert!(served.len() >= 3, "{served:?}");
    for file in served {
        let text = read(&format!("deploy/clickhouse/user_files/{file}"));
        for outside in ["http://", "https://", "//cdn"] {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(outside), "{file} reaches outside with {outside}");
        }
    }
    let page = read("deploy/clickhouse/user_files/live/page.js");
    for query in ["arrivals", "traffic", "activities", "rejections", "last"] {
        let urls = [format!("<url>regex:^/live/api/{query}/"), format!("<url>/live/api/{query}</url>")];
        assert!(urls.iter().any(|url| config.contains(url)), "nothing answers {query}");
        assert!(page.contains(&format!("\"{query}\"")), "the page does not ask {query}");
    }
}

/// The targets of the links of a Markdown text that point into the tree.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchor that a heading gets: lower case, hyphens for spaces, no punctuation.
fn anchor(line: &str) -> Option<String> {
    let heading = line.starts_with('#').then(|| line.trim_start_matches('#').trim())?;
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

fn alerts() -> Vec<Value> {
    let file = yaml("deploy/prometheus/alerts.yml");
    let groups = file["groups"].as_array().unwrap();
    let alerts: Vec<Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect();
    assert!(alerts.len() >= 6, "only {} alerts", alerts.len());
    alerts
}

/// Every panel of every dashboard, with its file's name.
fn panels() -> Vec<(String, Value)> {
    let mut panels = Vec::new();
    for file in files("deploy/grafana/dashboards", ".json") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for panel in dashboard["panels"].as_array().unwrap() {
            panels.push((name.clone(), panel.clone()));
        }
    }
    assert!(panels.len() >= 10, "only {} panels", panels.len());
    panels
}

/// Every expression of alerts and dashboards, with the place it stands in.
fn expressions() -> Vec<(String, String)> {
    let mut expressions: Vec<(String, String)> = Vec::new();
    for alert in alerts() {
        expressions.push((alert["alert"].to_string(), alert["expr"].as_str().unwrap().to_owned()));
    }
    for (file, panel) in panels() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            if let Some(expression) = target["expr"].as_str() {
                expressions.push((format!("{file}: {}", panel["title"]), expression.to_owned()));
            }
        }
    }
    expressions
}

/// Names such as `millrace_records_total` in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("millrace_")).map(str::to_owned).collect()
}

/// Whether Prometheus knows a series of that name: of a histogram only its three parts.
fn is_series(name: &str, described: &BTreeMap<String, &'static str>) -> bool {
    match described.get(name) {
        Some(kind) => *kind != "histogram",
        None => histogram(name).is_some_and(|plain| described.get(plain) == Some(&"histogram")),
    }
}

/// The histogram that a series would belong to.
fn histogram(series: &str) -> Option<&str> {
    ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| series.strip_suffix(ending))
}

const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// What the code describes: name and kind.
fn described() -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    let text = code();
    for kind in KINDS {
        found.extend(metrics_after(&text, &format!("describe_{kind}!("), kind));
    }
    found
}

/// What the code reports: name and kind.
fn reported() -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    let text = code();
    for kind in KINDS {
        found.extend(metrics_after(&text, &format!("metrics::{kind}!("), kind));
    }
    found
}

/// Names that stand first behind an opening, such as `metrics::gauge!(`.
fn metrics_after(text: &str, opening: &str, kind: &'static str) -> Vec<(String, &'static str)> {
    let calls = text.split(opening).skip(1);
    let names = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    names.filter(|name| name.starts_with("millrace_")).map(|name| (name.to_owned(), kind)).collect()
}

/// The code of all processes, with texts that are written over several lines put together.
fn code() -> String {
    let mut code = String::new();
    for file in files("crates", ".rs") {
        if !file.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        for line in fs::read_to_string(file).unwrap().lines() {
            match line.strip_suffix('\\') {
                Some(begun) => code.push_str(if code.ends_with('\n') { begun } else { begun.trim_start() }),
                None if code.ends_with('\n') => code.extend([line, "\n"]),
                None => code.extend([line.trim_start(), "\n"]),
            }
        }
    }
    code
}

/// The paragraph that begins with these words in bold; empty when there is none.
fn paragraph<'a>(section: &'a str, title: &str) -> &'a str {
    let opening = format!("**{title}**");
    section.split("\n\n").find_map(|text| text.trim_start().strip_prefix(&opening)).unwrap_or_default()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
