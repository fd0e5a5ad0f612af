//! `millrace cubes`: shows the cubes, and checks a file of cubes.
use std::{fs, path::PathBuf};

use aggregate::{
    Cubes,
    cube::{AggregateFunction, Cube, CubeError, CubeLane, Measure},
    table::LaneTable,
};
use clap::{Args, Subcommand};
use runtime::config::ConfigError;
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    nearest::nearest,
    output::table::{Column::Text, table},
};

/// Show the cubes: measures, dimensions and retention
#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  millrace cubes list
  millrace cubes show revenue
  millrace cubes check my-cubes.toml      shows all problems, before a process is started with the file")]
pub(crate) enum CubesCommand {
    /// Print every cube with its panes, dimensions and measures
    List(ListCubes),
    /// Print one cube with the source of each column
    Show(ShowCube),
    /// Print the problems in a file of cubes
    Check(CheckCubes),
}

/// Print every cube, including those of aggregate.cubes_file
#[derive(Debug, Args)]
#[command(after_help = "\
Measures with a ~ are sketches: query them with uniqCombined64Merge(14)(column).

EXAMPLES
  millrace cubes list
  millrace cubes list --json | jq -r '.[] | select(.lanes | index(\"report\")) | .name'")]
pub(crate) struct ListCubes {}

/// Print one cube: its columns, the source of each, and an example query
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  millrace cubes show audience
  millrace cubes show traffic --json")]
pub(crate) struct ShowCube {
    /// Name of the cube, as in `millrace cubes list`
    name: String,
}

/// Print all problems in a file of cubes, together with the built-in cubes
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 2 if FILE has a problem, with 78 if the configured file has one.

EXAMPLES
  millrace cubes check                    the file of aggregate.cubes_file
  millrace cubes check my-cubes.toml
  millrace cubes check my-cubes.toml --json | jq -r '.problems[].problem'")]
pub(crate) struct CheckCubes {
    /// File of cubes; the default is aggregate.cubes_file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl CubesCommand {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::List(list) => list.run(context),
            Self::Show(show) => show.run(context),
            Self::Check(check) => check.run(context),
        }
    }
}

impl ListCubes {
    fn run(&self, context: &mut Context) -> Result<(), Error> {
        let cubes = aggregate::cubes(&context.settings)?;
        let mut table = table(&[Text("cube"), Text("panes"), Text("dimensions"), Text("measures")]);
        for cube in &cubes.cubes {
            let dimensions: Vec<&str> = cube.dimensions.iter().map(|one| one.name.as_str()).collect();
            let measures: Vec<String> = cube.measures.iter().map(measure_name).collect();
            table.add_row([cube.name.clone(), panes(cube), dimensions.join(" "), measures.join(" ")]);
        }
        context.output.table(&table)?;
        let list: Vec<Value> = cubes.cubes.iter().map(as_json).collect();
        Ok(context.output.json(&list)?)
    }
}

impl ShowCube {
    fn run(&self, context: &mut Context) -> Result<(), Error> {
        let cubes = aggregate::cubes(&context.settings)?;
        let Some(cube) = cubes.get(&self.name) else {
            let nearest = nearest(&self.name, cubes.cubes.iter().map(|cube| cube.name.as_str()));
            return Err(Error::Usage(format!(
                "there is no cube `{}`; the nearest is `{nearest}` (`millrace cubes list` shows all)",
                self.name
            )));
        };
        let output = &mut context.output;
        output.line(format!("{}: {}", cube.name, cube.meaning))?;
        output.line("")?;
        let kept = |lane: CubeLane| format!("{} {} days", lane.as_str(), cube.retention_of(lane));
        let kept: Vec<String> = cube.lanes().map(kept).collect();
        output.line(format!("panes     {}   (kept: {})", panes(cube), kept.join(", ")))?;
        output.line(format!("bucket    by {}", cube.time.name()))?;
        output.line(format!("where     {}", cube.shown(&cube.filter).join(", ")))?;
        if let Some(explode) = &cube.explode {
            output.line(format!("explode   one row per entry of {}", explode.field.name()))?;
        }
        output.line("")?;
        let mut table = table(&[Text("column"), Text("kind"), Text("from"), Text("where")]);
        for dimension in &cube.dimensions {
            let from = dimension.source.to_string();
            table.add_row([dimension.name.clone(), "dimension".into(), from, String::new()]);
        }
        for measure in &cube.measures {
            let (what, from) = fold(measure);
            let filter = cube.shown(&measure.filter).join(", ");
            table.add_row([measure.name.clone(), what.into(), from, filter]);
        }
        output.table(&table)?;
        output.line("")?;
        output.line(example(cube, &context.settings.clickhouse.database))?;
        Ok(output.json(&as_json(cube))?)
    }
}

impl CheckCubes {
    fn run(&self, context: &mut Context) -> Result<(), Error> {
        let configured = &context.settings.aggregate.cubes_file;
        let path = match &self.file {
            Some(file) => Some(file.clone()),
            None => (!configured.is_empty()).then(|| PathBuf::from(configured)),
        };
        let text = match &path {
            Some(path) => {
                fs::read_to_string(path).map_err(|source| Error::File { path: path.clone(), source })?
            }
            None => String::new(),
        };
        let output = &mut context.output;
        match Cubes::built_in_with(&text) {
            Ok(cubes) => {
                let columns = |&lane: &CubeLane| {
                    let table = LaneTable::new(&cubes, lane);
                    format!("{} columns in {}", table.layout().columns().len(), table.name())
                };
                let columns: Vec<String> = CubeLane::ALL.iter().map(columns).collect();
                output.line(format!("{} cubes are valid: {}", cubes.cubes.len(), columns.join(", ")))?;
                Ok(output.json(&json!({ "cubes": cubes.cubes.len(), "problems": [] }))?)
            }
            Err(CubeError { problems }) => {
                for problem in &problems {
                    output.line(problem.to_string())?;
                }
                let list: Vec<Value> =
                    problems.iter().map(|one| json!({ "cube": one.cube, "problem": one.problem })).collect();
                output.json(&json!({ "problems": list }))?;
                let count = problems.len();
                let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
                let shown = path.map(|path| path.display().to_string()).unwrap_or_default();
                Err(if self.file.is_some() {
                    Error::Usage(format!("{problems} in {shown}"))
                } else {
                    let expected = format!("a file of valid cubes; it has {problems}, listed above");
                    ConfigError::value("aggregate.cubes_file", shown, expected).into()
                })
            }
        }
    }
}

fn panes(cube: &Cube) -> String {
    cube.panes.iter().map(|pane| pane.as_str()).collect::<Vec<_>>().join(" ")
}

fn measure_name(measure: &Measure) -> String {
    format!("{}{}", measure.name, if measure.is_uniq() { "~" } else { "" })
}

fn fold(measure: &Measure) -> (&'static str, String) {
    match &measure.function {
        AggregateFunction::Count => ("count", String::new()),
        AggregateFunction::Sum(source) => ("sum", source.to_string()),
        AggregateFunction::Uniq(source) => ("uniq", source.to_string()),
    }
}

/// An example query: the first dimension beside `app_id` and the first three measures.
fn example(cube: &Cube, database: &str) -> String {
    let dimension = cube.dimensions.iter().map(|one| one.name.as_str()).find(|name| *name != "app_id");
    let read = |measure: &Measure| {
        if measure.is_uniq() {
            format!("uniqCombined64Merge(14)({})", measure.name)
        } else {
            format!("sum({})", measure.name)
        }
    };
    let measures: Vec<String> = cube.measures.iter().take(3).map(read).collect();
    let pane = cube.panes.last().map_or("", |pane| pane.as_str());
    let (by, group) =
        dimension.map_or((String::new(), String::new()), |name| (format!("{name}, "), format!(", {name}")));
    format!(
        "SELECT bucket, {by}{} FROM {database}.{} WHERE pane = '{pane}' GROUP BY bucket{group} ORDER BY bucket",
        measures.join(", "),
        cube.name
    )
}

fn as_json(cube: &Cube) -> Value {
    let dimensions: Vec<Value> = cube
        .dimensions
        .iter()
        .map(|one| json!({ "name": one.name, "from": one.source.to_string() }))
        .collect();
    let measures: Vec<Value> = cube
        .measures
        .iter()
        .map(|measure| {
            let (fold, from) = fold(measure);
            json!({ "name": measure.name, "fold": fold, "from": from, "where": cube.shown(&measure.filter) })
        })
        .collect();
    json!({
        "name": cube.name,
        "meaning": cube.meaning,
        "lanes": cube.lanes().map(CubeLane::as_str).collect::<Vec<_>>(),
        "panes": cube.panes.iter().map(|pane| pane.as_str()).collect::<Vec<_>>(),
        "time": cube.time.name(),
        "where": cube.shown(&cube.filter),
        "explode": cube.explode.as_ref().map(|explode| explode.field.name()),
        "dimensions": dimensions,
        "measures": measures,
    })
}
