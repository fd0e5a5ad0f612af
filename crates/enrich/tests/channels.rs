//! The built-in channel rules against a table of evidence and expected channels.
use enrich::channel::{BUILT_IN, ChannelRules, Evidence};

#[test]
fn the_built_in_rules_give_every_case_its_channel() {
    let own_hosts = ["www.example.tv".to_owned(), "m.example.tv".to_owned()];
    let rules = ChannelRules::parse(BUILT_IN, &own_hosts).unwrap();
    let lines =
        include_str!("channels.tsv").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut cases, mut wrong) = (0, Vec::new());
    for line in lines {
        cases += 1;
        let columns: Vec<&str> = line.split('\t').collect();
        let [shown, group, source, rule] = columns[..] else { panic!("four columns, not {line:?}") };
        let (mut evidence, mut platform, mut app, mut url) = (Evidence::default(), "", "", "");
        for part in shown.split(' ') {
            match part.split_once('=').unwrap() {
                ("source", value) => evidence.campaign_source = value.into(),
                ("medium", value) => evidence.campaign_medium = value.into(),
                ("name", value) => evidence.campaign_name = value.into(),
                ("click", value) => evidence.click_id_type = value.into(),
                ("install", value) => evidence.install_source = value,
                ("referrer", value) => evidence.referrer = value,
                ("url", value) => url = value,
                ("platform", value) => platform = value,
                ("app", value) => app = value,
                (key, _) => panic!("{key} is unknown, in {line:?}"),
            }
        }
        evidence.read_address(url);
        let own = rules.own(&evidence);
        let channel = own.clone().unwrap_or_else(|| rules.fallback(&evidence, platform, app));
        if (channel.group, channel.source.as_str(), channel.rule) != (group, source, rule) {
            wrong.push(format!(
                "{shown}\n  expected {group}, {source:?} by {rule}\n  decided  {}, {:?} by {}",
                channel.group, channel.source, channel.rule
            ));
        }
        let (tried, explained) = rules.explain(&evidence, platform, app);
        assert_eq!(explained, channel, "{shown}: the explanation differs from the decision");
        assert_eq!(tried.last().map(|tried| tried.rule), Some(channel.rule), "{shown}");
    }
    assert!(cases >= 300, "only {cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} cases get another channel:\n{}", wrong.len(), wrong.join("\n"));
}
