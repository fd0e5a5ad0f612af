//! The views of the cubes: their panes and columns.
use std::collections::BTreeMap;

use aggregate::{Cubes, cube::Pane};

/// A view of a cube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CubeView {
    /// The widest first.
    pub(crate) panes: Vec<Pane>,
    pub(crate) dimensions: Vec<String>,
    pub(crate) measures: Vec<String>,
    /// The measures that are sketches.
    pub(crate) sketches: Vec<String>,
}

/// The views by their names.
pub(crate) fn views(cubes: &Cubes) -> BTreeMap<String, CubeView> {
    let views = cubes.cubes.iter().map(|cube| {
        let mut panes = cube.panes.clone();
        panes.sort_unstable_by(|a, b| b.cmp(a));
        let mut dimensions: Vec<String> =
            cube.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
        // Only the view has this column: it adds the dead letters from their own table.
        if cube.name == "quality" {
            dimensions.push("code".into());
        }
        let (sketches, measures): (Vec<_>, Vec<_>) =
            cube.measures.iter().partition(|measure| measure.is_uniq());
        let names = |measures: Vec<&aggregate::cube::Measure>| -> Vec<String> {
            measures.into_iter().map(|measure| measure.name.clone()).collect()
        };
        let view = CubeView { panes, dimensions, measures: names(measures), sketches: names(sketches) };
        (cube.name.clone(), view)
    });
    views.collect()
}
