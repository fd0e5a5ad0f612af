//! User agents of the simulator's clients: a small table instead of a parser.

/// Brand, model and system of a device; empty when unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) brand: &'static str,
    pub(super) model: String,
    pub(super) os_name: &'static str,
    pub(super) os_version: String,
}

/// Beginnings of models that name their brand.
const BRANDS: [(&str, &str); 4] =
    [("Redmi", "Xiaomi"), ("Xiaomi", "Xiaomi"), ("iQOO", "vivo"), ("SM-", "samsung")];

/// Parts of user agents of in-app browsers.
const APPS: [&str; 7] =
    ["MicroMessenger/", "QQ/", "Weibo", "aweme_", "BiliApp/", "AlipayClient/", "baiduboxapp/"];

pub(super) fn is_bot(agent: &str) -> bool {
    let agent = agent.to_lowercase();
    ["bot", "spider", "headless"].iter().any(|word| agent.contains(word))
}

pub(super) fn is_in_app(agent: &str) -> bool {
    APPS.iter().any(|app| agent.contains(app))
}

pub(super) fn read(agent: &str) -> Agent {
    let behind = |word: &str| agent.split_once(word).map(|(_, rest)| rest);
    if let Some((version, _)) = behind("CPU iPhone OS ").and_then(|rest| rest.split_once(' ')) {
        let os_version = version.replace('_', ".");
        return Agent { brand: "Apple", model: "iPhone".into(), os_name: "iOS", os_version };
    }
    if let Some((os_version, model)) = behind("Linux; Android ")
        .and_then(|rest| rest.split_once(')'))
        .and_then(|(device, _)| device.split_once("; "))
    {
        // This browser runs only on Huawei's phones, and few of their models name the brand.
        let is_huawei = agent.contains("HuaweiBrowser/").then_some("HUAWEI");
        let brand = BRANDS.iter().find(|(start, _)| model.starts_with(start)).map(|(_, brand)| *brand);
        let brand = is_huawei.or(brand).unwrap_or_default();
        return Agent { brand, model: model.into(), os_name: "Android", os_version: os_version.into() };
    }
    if let Some((version, _)) = behind("Intel Mac OS X ").and_then(|rest| rest.split_once(')')) {
        let os_version = version.replace('_', ".");
        return Agent { brand: "Apple", model: "Mac".into(), os_name: "macOS", os_version };
    }
    if agent.contains("Windows NT 10.0") {
        return Agent { os_name: "Windows", os_version: "10".into(), ..Agent::default() };
    }
    if agent.contains("X11; Linux") {
        return Agent { os_name: "Linux", ..Agent::default() };
    }
    Agent::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents_of_the_simulator_are_parsed() {
        let phone =
            "Mozilla/5.0 (Linux; Android 13; Redmi K70) AppleWebKit/537.36 Chrome/1 MicroMessenger/8.0";
        let expected =
            Agent { brand: "Xiaomi", model: "Redmi K70".into(), os_name: "Android", os_version: "13".into() };
        assert_eq!(read(phone), expected);
        assert!(is_in_app(phone) && !is_bot(phone));
        assert!(is_bot("Sogou web spider/4.0") && !is_in_app("XiaoMi/MiuiBrowser/17.8.230"));
    }
}
