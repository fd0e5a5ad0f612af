//! The sheets name metrics, definitions and dimensions that exist.
use std::collections::BTreeSet;

use aggregate::{Cubes, cube};
use calamine::{Data, Reader, Xlsx, open_workbook};
use rust_xlsxwriter::Workbook;

use super::{
    sections,
    sheet_writer::{CellFormats, SheetWriter},
    sheets::{DEFINITIONS, SHEETS, Section},
};
use crate::metrics::{catalogue::MetricCatalogue, period::TimeStep, query, views};

#[test]
fn every_metric_definition_and_dimension_of_the_sheets_exists() {
    let catalogue = MetricCatalogue::built_in().unwrap();
    let views = views::views(&Cubes::parse(cube::BUILT_IN).unwrap());
    let check = |name: &str, by: &[&str], alone: bool| {
        let (metric, definition) = name.split_once(':').map_or((name, None), |(m, d)| (m, Some(d)));
        let definition = catalogue.metric(metric).unwrap().definition(definition).unwrap();
        let known = query::dimensions(definition, &views[&definition.cube]);
        for dimension in by {
            assert!(known.iter().any(|known| known == dimension), "{name} by {dimension}");
        }
        assert!(!alone || definition.each.is_empty(), "{name} has more than one value");
        definition.clone()
    };
    for sheet in SHEETS {
        for section in sheet.sections {
            match section {
                Section::Numbers(names) | Section::Retention(names) => {
                    names.iter().for_each(|name| drop(check(name, &[], true)));
                }
                Section::Split(name, by) => {
                    let definition = check(name, by, false);
                    assert!(!by.is_empty() || !definition.each.is_empty(), "{name} is split by nothing");
                }
                Section::Series(names) => {
                    for name in *names {
                        assert!(check(name, &[], true).steps.contains(&TimeStep::Day), "{name}");
                    }
                }
                Section::Triangle(name) => assert_eq!(check(name, &[], false).each, ["day_number"]),
            }
        }
    }
}

#[test]
fn sheets_have_names_that_a_spreadsheet_takes() {
    let names: BTreeSet<String> =
        SHEETS.iter().map(|sheet| sheet.name()).chain([DEFINITIONS.to_owned()]).collect();
    assert_eq!(names.len(), SHEETS.len() + 1);
    for name in names {
        assert!(name.chars().count() <= 31 && !name.contains(['[', ']', ':', '*', '?', '/', '\\']), "{name}");
    }
}

/// One text of 40 000 characters made the whole report fail.
#[test]
fn a_text_that_no_cell_can_hold_is_cut_and_its_cell_is_named_on_the_last_sheet() {
    let (long, formula, control) = ("长".repeat(40_000), "=HYPERLINK(\"http://a\")", "a\u{1}b");
    let mut workbook = Workbook::new();
    let formats = CellFormats::default();
    let mut writer = SheetWriter::new(workbook.add_worksheet(), &formats, "渠道 Channels".into()).unwrap();
    for text in [&long, formula, control, "plain"] {
        writer.cell(1, text, &formats.text).unwrap();
        writer.row += 1;
    }
    let changed = writer.finish().unwrap();
    let mut writer = SheetWriter::new(workbook.add_worksheet(), &formats, DEFINITIONS.to_owned()).unwrap();
    sections::definitions(&mut writer, &MetricCatalogue::built_in().unwrap(), &changed).unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".xlsx").unwrap();
    workbook.save(file.path()).unwrap();

    let mut book: Xlsx<_> = open_workbook(file.path()).unwrap();
    let sheet = book.worksheet_range("渠道 Channels").unwrap();
    let text = |row| match sheet.get_value((row, 1)) {
        Some(Data::String(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(0), "长".repeat(32_766) + "…");
    assert_eq!((text(1).as_str(), text(2).as_str(), text(3).as_str()), (formula, "a\u{fffd}b", "plain"));
    let definitions = book.worksheet_range(DEFINITIONS).unwrap();
    let listed: Vec<String> = definitions.rows().map(|row| format!("{} {}", row[0], row[1])).collect();
    for cell in ["渠道 Channels!B1 40000 字符 characters", "渠道 Channels!B3 3 字符 characters"] {
        assert!(listed.iter().any(|row| row == cell), "{cell}: {listed:?}");
    }
}
