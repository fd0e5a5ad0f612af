//! User agents as browsers, apps and crawlers send them, against a table of expected results.
use std::sync::Arc;

use enrich::user_agent::{Parser, UserAgents};

#[test]
fn every_user_agent_is_read_as_the_table_says() {
    let mut agents = UserAgents::new(Arc::new(Parser::new().unwrap()));
    let mut wrong = Vec::new();
    let lines: Vec<&str> =
        include_str!("user_agents.tsv").lines().filter(|line| !line.starts_with('#')).collect();
    for line in &lines {
        let (text, expected) = line.split_once('\t').unwrap();
        let agent = agents.read(text);
        let read = format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{}",
            agent.browser,
            agent.in_app_browser,
            agent.os_name,
            agent.os_version,
            agent.device_brand,
            agent.device_model,
            if agent.is_bot { "bot" } else { "" },
        );
        if read.trim_end() != expected {
            wrong.push(format!("{text}\n  expected {expected:?}\n  read     {:?}", read.trim_end()));
        }
    }
    assert!(lines.len() >= 60, "only {} user agents", lines.len());
    assert!(wrong.is_empty(), "{} of {} are read wrongly:\n{}", wrong.len(), lines.len(), wrong.join("\n"));
}
