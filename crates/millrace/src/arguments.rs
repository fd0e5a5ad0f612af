//! The command line: the options of every command. The commands themselves are in [`crate::command`].
use std::path::PathBuf;

use clap::Parser;

use crate::command::Command;

/// Operate a Millrace pipeline: topics, tables, activities, metrics, simulated clients, and the events in flight.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, max_term_width = 100, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// TOML file that overrides the built-in defaults
    #[arg(long, value_name = "FILE", env = "MILLRACE_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Settings come from the built-in defaults, then --config FILE, then the environment (MILLRACE__KAFKA__BROKERS=…).
Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.

EXAMPLES
  millrace topics create && millrace migrate     prepare Kafka and ClickHouse; safe to run again
  millrace simulate --rate 2000                  send events of simulated clients until Ctrl-C
  millrace status                                lag of every stage and age of the newest data
  millrace cat dead-letters | jq ._headers.code  why events were rejected";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_examples() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("EXAMPLES"), "{} has no examples:\n{help}", command.get_name());
            let inner = command.get_subcommands_mut().filter(|inner| inner.get_name() != "help");
            inner.for_each(check);
        }
        command.build();
        check(&mut command);
    }

    #[test]
    fn arguments_are_accepted_or_rejected() {
        for (line, accepted) in [
            ("topics create", true),
            ("topics", false),
            ("topics create raw-events", false),
            ("migrate --json", true),
            ("--json --config millrace.toml status", true),
            (
                "simulate --rate max --total 1000 --seed 7 --devices 10 --duplicates 0.1 --bad 0 --late 1",
                true,
            ),
            ("simulate --bad 1.5", false),
            ("simulate --rate 0", false),
            ("access check", true),
            ("access check access.toml --json", true),
            ("access show my-access.toml", true),
            ("access apply --by alice", true),
            ("access apply --dry-run", true),
            ("access render --xml", true),
            ("access", false),
            ("activity create --name Draw --event visit=Visit --event draw", true),
            ("activity create", false),
            ("activity create --name Draw --event =x", false),
            ("activity create --name Draw --starts yesterday", false),
            ("activity create --name Draw --starts 2026-03-01T00:00:00+08:00 --type template", true),
            ("activity create --name Draw --rule key=draw,event=page_view,where={\"platform\":\"h5\"}", true),
            ("activity create --name Draw --rule key=draw", false),
            ("activity list", true),
            ("activity show draw", true),
            ("activity show", false),
            ("activity end draw --at 2026-03-01T00:00:00+08:00 --reason over --by alice", true),
            ("activity end", false),
            ("activity import activities.jsonl --dry-run", true),
            ("activity export", true),
            ("activity history draw --limit 5 --json", true),
            ("cat clean-events --follow --from end --partition 3 --limit 5", true),
            ("cat clean-events --from 17", true),
            ("cat clean-events --from -1", false),
            ("cat clean-events --from middle", false),
            ("cat", false),
            (
                "channel explain https://www.example.tv/?utm_source=baidu --referrer https://www.zhihu.com/ --json",
                true,
            ),
            ("channel explain", false),
            ("channel diff new.toml --since 1d", true),
            ("channel diff new.toml --since yesterday", false),
            ("channel diff", false),
            ("reconcile --json --metrics-file millrace.prom", true),
            ("reconcile raw-events", false),
            ("cubes list --json", true),
            ("cubes show traffic", true),
            ("cubes show", false),
            ("cubes check", true),
            ("cubes check my-cubes.toml", true),
            ("metrics list", true),
            ("metrics show plays", true),
            (
                "metrics query plays --by hour,platform --from 7d --to 1d --step day --app web-main --csv",
                true,
            ),
            ("metrics query plays --from 2026-03-01 --to 2026-03-07 --at 2026-03-08T00:00:00+08:00", true),
            ("metrics query plays --from yesterday", false),
            ("metrics query plays --step year", false),
            ("metrics query", false),
            ("trace 0199f0a0-7c1e-7abc-8def-0123456789ab --since 2d --scan --json", true),
            ("trace 0199f0a0", false),
            ("trace 0199f0a0-7c1e-7abc-8def-0123456789ab --since soon", false),
            ("docs --check", true),
            ("report daily --date 2026-03-07 --out day.xlsx --app web-main", true),
            ("report weekly --out week.xlsx", true),
            ("report daily", false),
            ("report daily --date 7d --out day.xlsx", false),
            ("forget --app web-main --anonymous-id a --anonymous-id b --wait --reason r --by dora", true),
            ("forget --app web-main --user-id u", true),
            ("forget --app web-main", false),
            ("forget --anonymous-id a", false),
            ("audit --since 7d --user alice --changes --limit 10 --json", true),
            ("audit --since soon", false),
            ("fields --json", true),
            ("codes", true),
        ] {
            let words = std::iter::once("millrace").chain(line.split_whitespace());
            let parsed = Arguments::try_parse_from(words);
            assert_eq!(parsed.is_ok(), accepted, "{line}: {:?}", parsed.err());
        }
    }
}
