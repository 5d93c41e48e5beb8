//! Where boxes stand: in rows by what they wait for, with few crossings.
//!
//! Owns: the arithmetic. Must not: know what a box looks like, but for its size.
//!
//! The usual four steps for layered drawings: rows by longest path; an invisible point in each row that an arrow passes;
//! the order within rows by the middle of the neighbours, to and fro; places as near to the neighbours as the room
//! allows.

/// Room beside a box.
const GAP: f64 = 28.0;
/// Room that an arrow wants when it passes a row.
const LANE: f64 = 18.0;
/// How often the order and the places are improved.
const SWEEPS: usize = 12;

/// The items of one group in a row: their middle, the group, each with its own middle.
type Cluster = (f64, usize, Vec<(f64, usize)>);

/// Something to place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Boxes of one group stand side by side in a row.
    pub(super) group: usize,
}

/// Everything placed: the middle of each box, and the points that each arrow passes between its ends.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) boxes: Vec<(f64, f64)>,
    pub(super) bends: Vec<Vec<(f64, f64)>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A box or a point that an arrow passes.
struct Item {
    width: f64,
    height: f64,
    group: usize,
    row: usize,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Places boxes; `room` is what lies between rows.
pub(super) fn place(sizes: &[Size], edges: &[(usize, usize)], room: f64) -> Placed {
    let rows_of = rows(sizes.len(), edges);
    let mut items: Vec<Item> = sizes
        .iter()
        .zip(&rows_of)
        .map(|(size, row)| Item {
            width: size.width,
            height: size.height,
            group: size.group,
            row: *row,
            x: 0.0,
            above: Vec::new(),
            below: Vec::new(),
        })
        .collect();
    let mut passes = Vec::with_capacity(edges.len());
    for &(from, to) in edges {
        let mut pass = Vec::new();
        let mut last = from;
        for row in rows_of[from] + 1..rows_of[to] {
            let point = items.len();
            items.push(Item {
                width: LANE,
                height: 0.0,
                group: usize::MAX - point,
                row,
                x: 0.0,
                above: vec![last],
                below: Vec::new(),
            });
            items[last].below.push(point);
            pass.push(point);
            last = point;
        }
        items[last].below.push(to);
        items[to].above.push(last);
        passes.push(pass);
    }
    let count = items.iter().map(|i| i.row + 1).max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, item) in items.iter().enumerate() {
        rows[item.row].push(at);
    }
    order(&items, &mut rows);
    spread(&mut items, &rows);
    let mut heights = vec![0.0_f64; count];
    for item in &items {
        heights[item.row] = heights[item.row].max(item.height);
    }
    let mut middles = Vec::with_capacity(count);
    let mut y = 0.0;
    for height in &heights {
        middles.push(y + height / 2.0);
        y += height + room;
    }
    let left = items.iter().map(|i| i.x - i.width / 2.0).fold(f64::INFINITY, f64::min);
    let right = items.iter().map(|i| i.x + i.width / 2.0).fold(f64::NEG_INFINITY, f64::max);
    let at = |item: &Item| (item.x - left, middles[item.row]);
    // Straight through a row, so that no arrow runs under a box.
    let through = |item: &Item| {
        let (x, middle) = at(item);
        let half = heights[item.row] / 2.0;
        [(x, middle - half), (x, middle + half)]
    };
    Placed {
        boxes: items[..sizes.len()].iter().map(at).collect(),
        bends: passes.iter().map(|pass| pass.iter().flat_map(|p| through(&items[*p])).collect()).collect(),
        width: if sizes.is_empty() { 0.0 } else { right - left },
        height: (y - room).max(0.0),
    }
}

/// The row of each box: one below the lowest that it waits for.
fn rows(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![0; count];
    // A plan has no cycles, so as many rounds as boxes are always enough; it is quiet long before.
    for _ in 0..count {
        let mut quiet = true;
        for &(from, to) in edges {
            if rows[to] <= rows[from] {
                rows[to] = rows[from] + 1;
                quiet = false;
            }
        }
        if quiet {
            break;
        }
    }
    rows
}

/// Sorts each row by the middle of the neighbours in the row before, first downwards, then upwards.
fn order(items: &[Item], rows: &mut [Vec<usize>]) {
    let mut position = vec![0.0; items.len()];
    let number = |rows: &[Vec<usize>], position: &mut Vec<f64>| {
        for row in rows {
            for (place, item) in row.iter().enumerate() {
                position[*item] = place as f64 - row.len() as f64 / 2.0;
            }
        }
    };
    number(rows, &mut position);
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let count = rows.len();
        for step in 0..count {
            let row = if down { step } else { count - 1 - step };
            let middle = |at: usize| {
                let near = if down { &items[at].above } else { &items[at].below };
                if near.is_empty() {
                    position[at]
                } else {
                    near.iter().map(|n| position[*n]).sum::<f64>() / near.len() as f64
                }
            };
            let mut groups: Vec<Cluster> = Vec::new();
            for &at in &rows[row] {
                let own = (middle(at), at);
                match groups.iter_mut().find(|(_, group, _)| *group == items[at].group) {
                    Some((_, _, members)) => members.push(own),
                    None => groups.push((0.0, items[at].group, vec![own])),
                }
            }
            for (key, _, members) in &mut groups {
                *key = members.iter().map(|(m, _)| m).sum::<f64>() / members.len() as f64;
                members.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            groups.sort_by(|a, b| a.0.total_cmp(&b.0));
            rows[row] = groups.into_iter().flat_map(|(_, _, members)| members).map(|(_, at)| at).collect();
            number(&rows[row..=row], &mut position);
        }
    }
}

/// Moves each row's items towards their neighbours without letting them touch.
fn spread(items: &mut [Item], rows: &[Vec<usize>]) {
    for row in rows {
        let mut x = 0.0;
        for &at in row {
            items[at].x = x + items[at].width / 2.0;
            x += items[at].width + GAP;
        }
        let middle = (x - GAP) / 2.0;
        for &at in row {
            items[at].x -= middle;
        }
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 0..rows.len() {
            let row = &rows[if down { step } else { rows.len() - 1 - step }];
            let wanted: Vec<f64> = row
                .iter()
                .map(|&at| {
                    let near: Vec<usize> = items[at].above.iter().chain(&items[at].below).copied().collect();
                    if near.is_empty() {
                        items[at].x
                    } else {
                        near.iter().map(|n| items[*n].x).sum::<f64>() / near.len() as f64
                    }
                })
                .collect();
            let apart = |a: usize, b: usize| (items[row[a]].width + items[row[b]].width) / 2.0 + GAP;
            // Both keep the distances, so their mean does, too.
            let mut from_left = wanted.clone();
            for i in 1..row.len() {
                from_left[i] = from_left[i].max(from_left[i - 1] + apart(i - 1, i));
            }
            let mut from_right = wanted;
            for i in (0..row.len().saturating_sub(1)).rev() {
                from_right[i] = from_right[i].min(from_right[i + 1] - apart(i, i + 1));
            }
            let places: Vec<f64> = from_left.iter().zip(&from_right).map(|(l, r)| (l + r) / 2.0).collect();
            for (&at, x) in row.iter().zip(places) {
                items[at].x = x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(count: usize) -> Vec<Size> {
        (0..count).map(|n| Size { width: 60.0 + 17.0 * (n % 5) as f64, height: 30.0, group: n }).collect()
    }

    #[test]
    fn who_waits_stands_below_and_no_two_boxes_touch() {
        let edges: Vec<(usize, usize)> =
            (0..40).flat_map(|n| [(n, n + 3), (n, n + 7), (n / 2, n + 9)]).filter(|(_, b)| *b < 40).collect();
        let sizes = sizes(40);
        let placed = place(&sizes, &edges, 50.0);
        for &(from, to) in &edges {
            assert!(placed.boxes[from].1 + 30.0 < placed.boxes[to].1, "{from} above {to}");
        }
        for a in 0..40 {
            let (x, y) = placed.boxes[a];
            assert!(x - sizes[a].width / 2.0 >= -0.001 && x + sizes[a].width / 2.0 <= placed.width + 0.001);
            for b in 0..a {
                let other = placed.boxes[b];
                let apart = (x - other.0).abs() - (sizes[a].width + sizes[b].width) / 2.0;
                assert!((y - other.1).abs() > 29.0 || apart >= GAP - 0.001, "{a} and {b}");
            }
        }
        for (bends, (from, to)) in placed.bends.iter().zip(&edges) {
            assert!(bends.iter().all(|b| b.1 > placed.boxes[*from].1 && b.1 < placed.boxes[*to].1));
        }
    }

    #[test]
    fn groups_stand_together() {
        let mut sizes = sizes(9);
        for (n, size) in sizes.iter_mut().enumerate() {
            size.group = n % 3;
        }
        let placed = place(&sizes, &[], 50.0);
        let mut by_place: Vec<(f64, usize)> =
            placed.boxes.iter().enumerate().map(|(n, b)| (b.0, n % 3)).collect();
        by_place.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut groups: Vec<usize> = by_place.into_iter().map(|(_, g)| g).collect();
        groups.dedup();
        assert_eq!(groups.len(), 3);
    }
}
