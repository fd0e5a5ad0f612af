// The live page requests the fixed queries of ClickHouse every two seconds and shows their results. The rule it keeps:
// old data never looks current. A notice says whether tables are missing, empty or stale, or ClickHouse is unreachable.

const POLL_MS = 2000;
const TIMEOUT_MS = 8000;
const OLD_MS = 10_000;
const VERY_OLD_MS = 60_000;
const PANE_SECONDS = 10;
const FLUSH_SECONDS = 2;
const MOST_ROWS = 8;
// ClickHouse's codes for a table and a database that do not exist.
const UNKNOWN = ["60", "81"];

const PLATFORMS = { ios: "iOS", android: "Android", web: "Web", h5: "H5", pc: "PC", mini_program: "Mini program", server: "Server" };
const STATUS = { live: "Live", stale: "No new data", empty: "Waiting for events", missing: "Not set up", failed: "Query failed", unreachable: "Unreachable", waiting: "Connecting" };

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const hourAndMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

const shown = { window: 15, columns: [], marked: null, respondedAt: null, newestAge: null, measuredAt: null };

// ---- Queries ----

class QueryError extends Error {
    constructor(code, text) {
        super(text);
        this.code = code;
    }
}

/** The rows of a query below /live/api/; throws a QueryError when ClickHouse returns an error. */
async function query(path) {
    const response = await fetch(`live/api/${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
    if (!response.ok) {
        const text = (await response.text()).split("\n")[0].slice(0, 200);
        throw new QueryError(response.headers.get("X-ClickHouse-Exception-Code"), text);
    }
    return (await response.json()).data;
}

async function refresh() {
    const window = shown.window;
    try {
        const names = ["arrivals", "traffic", "activities", "rejections"];
        const [arrivals, traffic, activities, rejections] = await Promise.all(names.map((name) => query(`${name}/${window}`)));
        if (window !== shown.window) return;
        shown.respondedAt = new Date();
        showTraffic(traffic);
        showArrivals(arrivals);
        showActivities(activities);
        showRejections(arrivals, rejections);
        if (arrivals.length === 0 && traffic.length === 0) {
            await showEmpty();
        } else {
            showFreshness();
        }
    } catch (error) {
        showError(error);
    }
}

// ---- State and notice ----

/** Shows a state and, if there are parts, a notice made of texts and [command]s. */
function showState(state, ...parts) {
    if (document.body.dataset.state !== state) {
        document.body.dataset.state = state;
        $("status-text").textContent = STATUS[state];
    }
    const nodes = parts.map((part) => Array.isArray(part) ? element("code", {}, part[0]) : part);
    const text = nodes.map((node) => node.textContent ?? node).join("");
    // An unchanged notice is not replaced: a screen reader would read it again every two seconds.
    if ($("notice").textContent !== text) $("notice").replaceChildren(...nodes);
    $("notice").hidden = parts.length === 0;
}

async function showEmpty() {
    shown.newestAge = null;
    const [last] = await query("last");
    if (!last) {
        showState("empty", "No events yet. Send one to the topic raw-events, or run ", ["millrace simulate"], ": events appear here within seconds.");
    } else {
        showState("stale", `No events arrived in the last ${windowInWords()}. The last event arrived ${duration((last.now - last.at) * 1000)} ago.`);
    }
}

function showFreshness() {
    const age = ageNow();
    if (age === null || age < OLD_MS) {
        showState("live");
    } else if (age < VERY_OLD_MS) {
        showState("stale");
    } else {
        // In minutes, so that the notice does not change with every second.
        showState("stale", `No new events for ${duration(Math.floor(age / 60_000) * 60_000)}. Either no client sends, or a stage has stopped: run `, ["millrace status"], ".");
    }
}

function showError(error) {
    const since = shown.respondedAt ? ` The numbers below are from ${clock.format(shown.respondedAt)}.` : "";
    if (!(error instanceof QueryError)) {
        showState("unreachable", `Cannot reach ClickHouse at ${location.host}.${since} Retrying every 2 seconds.`);
    } else if (UNKNOWN.includes(error.code)) {
        showState("missing", "The tables do not exist yet. Create them with ", ["millrace migrate"], ".");
    } else {
        showState("failed", `ClickHouse returned an error.${since} ${error.message}`);
    }
}

/** Milliseconds since the newest event was received, or null. */
function ageNow() {
    return shown.newestAge === null ? null : shown.newestAge + performance.now() - shown.measuredAt;
}

function showAge() {
    const age = ageNow();
    const old = age === null || age < OLD_MS ? "new" : age < VERY_OLD_MS ? "old" : "very-old";
    $("age-tile").dataset.age = old;
    if (age === null) return $("age").replaceChildren("–");
    if (age < 60_000) return withUnit("age", (Math.max(0, age) / 1000).toFixed(age < OLD_MS ? 1 : 0), "s");
    withUnit("age", ...duration(age).split(" "));
}

// ---- Results ----

function showTraffic(rows) {
    const of = (by) => rows.filter((row) => row.by === by);
    const [total] = of("total");
    shown.newestAge = total ? total.now_ms - total.newest_ms : null;
    shown.measuredAt = performance.now();
    value("devices", total ? total.distinct_devices : 0);
    fill("platforms", top(of("platform")).map((row) => ({ ...row, label: PLATFORMS[row.name] ?? row.name })));
    fill("channels", top(of("channel")).map((row) => ({ ...row, label: sentence(row.name || "unknown") })));
    showAge();
}

function showArrivals(rows) {
    const sum = (keep) => rows.filter(keep).reduce((total, row) => total + row.count, 0);
    const received = sum(() => true);
    const accepted = sum((row) => row.kind === "event");
    const duplicates = sum((row) => row.kind === "duplicate");
    const rejected = sum((row) => row.kind === "dead_letter");
    const share = (part) => received === 0 ? 0 : 100 * part / received;
    percent("duplicates", share(duplicates));
    $("duplicates-note").textContent = `${whole.format(duplicates)} of ${short(received)} received`;
    percent("rejected", share(rejected));
    $("rejected-note").textContent = `${whole.format(rejected)} of ${short(received)} received`;
    $("duplicates").dataset.value = duplicates;
    $("rejected").dataset.value = rejected;

    shown.columns = columns(rows);
    value("rate", Math.round(currentRate(rows)));
    $("rate-note").textContent = `${short(accepted)} in the last ${windowInWords()}`;
    $("rate").dataset.accepted = accepted;
    draw();
}

/** One column per time step, oldest first; the last one is not complete yet. */
function columns(rows) {
    const step = shown.window > 15 ? 60 : PANE_SECONDS;
    const counts = new Map();
    let newest = 0;
    for (const row of rows) {
        const at = Math.floor(row.at / step) * step;
        newest = Math.max(newest, at);
        if (row.kind === "event") counts.set(at, (counts.get(at) ?? 0) + row.count);
    }
    // By the clock of the server. A pane appears only after its first flush, FLUSH_SECONDS later.
    const now = rows.length > 0 ? rows[0].now : Date.now() / 1000;
    const last = Math.max(newest, Math.floor((now - FLUSH_SECONDS) / step) * step);
    const result = [];
    for (let at = last - shown.window * 60 + step; at <= last; at += step) {
        const count = counts.get(at) ?? 0;
        result.push({ at, count, rate: count / step, seconds: step, isRunning: at === last });
    }
    return result;
}

/** Events per second in the newest complete column; before the first one is complete, in the running column so far. */
function currentRate(rows) {
    const [complete, running] = shown.columns.slice(-2);
    if (complete.count > 0 || running.count === 0) return complete.rate;
    return running.count / Math.max(1, Math.min(running.seconds, rows[0].now - running.at));
}

function showActivities(rows) {
    const marks = { unregistered: "not registered", outside_dates: "outside its dates", unknown_key: "unknown event", wrong_app: "other app" };
    fill("activities", rows.map((row) => ({ ...row, name: row.activity, label: row.activity || "(none)", mark: marks[row.status] })));
}

function showRejections(arrivals, rejections) {
    const counts = new Map();
    for (const row of arrivals) {
        if (row.kind === "dead_letter") counts.set(row.code, (counts.get(row.code) ?? 0) + row.count);
    }
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    const rows = [...counts].map(([code, count]) => {
        const newest = rejections.find((row) => row.code === code);
        const reason = newest?.last_pointer;
        return { name: code, label: code, count, last: `${(100 * count / total).toFixed(1)} %`, reason };
    });
    fill("codes", rows.sort((a, b) => b.count - a.count || a.name.localeCompare(b.name)));
}

/** The largest rows, and one row for the others; distinct devices cannot be added up, so it shows none. */
function top(rows) {
    if (rows.length <= MOST_ROWS) return rows;
    const others = rows.slice(MOST_ROWS - 1);
    const count = others.reduce((sum, row) => sum + row.count, 0);
    return [...rows.slice(0, MOST_ROWS - 1), { name: `${others.length} others`, count, last: "–" }];
}

/** Shows rows {name, label, count, distinct_devices | last, mark?, reason?} in a table; known rows are updated in place. */
function fill(id, rows) {
    const table = $(id);
    const body = table.tBodies[0];
    const before = new Map([...body.rows].map((row) => [row.dataset.name, row]));
    const total = rows.reduce((sum, row) => sum + row.count, 0);
    table.classList.toggle("empty", rows.length === 0);
    const after = rows.map((row) => {
        const line = before.get(row.name) ?? newLine(row.name);
        const [first, count, last] = line.cells;
        first.querySelector(".label").textContent = row.label;
        first.querySelector(".mark").textContent = row.mark ?? "";
        first.querySelector(".bar").style.setProperty("--share", `${100 * row.count / total}%`);
        first.querySelector(".reason").replaceChildren(...(row.reason ? [element("code", {}, row.reason)] : []));
        count.textContent = whole.format(row.count);
        count.dataset.value = row.count;
        last.textContent = row.last ?? whole.format(row.distinct_devices);
        return line;
    });
    const isSameOrder = after.length === body.rows.length && after.every((line, index) => line === body.rows[index]);
    if (!isSameOrder) body.replaceChildren(...after);
}

function newLine(name) {
    const first = element("td", {}, element("span", { className: "name" }, element("span", { className: "label" }), element("span", { className: "mark" })), element("span", { className: "bar" }), element("span", { className: "reason" }));
    const line = element("tr", {}, first, element("td"), element("td"));
    line.dataset.name = name;
    return line;
}

// ---- The chart ----

function draw() {
    const box = $("chart");
    const { clientWidth: width, clientHeight: height } = box;
    const list = shown.columns;
    if (width === 0 || list.length === 0) return;
    const [left, bottom, top] = [44, 22, 8];
    const [plotWidth, plotHeight] = [width - left, height - bottom - top];
    const highest = niceCeiling(Math.max(...list.map((column) => column.rate)));
    const y = (rate) => top + plotHeight * (1 - rate / highest);
    const pitch = plotWidth / list.length;
    const gap = Math.min(2, pitch * 0.25);

    const isAny = list.some((column) => column.count > 0);
    const parts = [];
    for (const part of [0, 0.5, 1]) {
        const at = Math.round(y(highest * part)) + 0.5;
        parts.push(svg("line", { class: "grid", x1: left, x2: width, y1: at, y2: at }));
        if (part === 0 || isAny) parts.push(svg("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, short(highest * part)));
    }
    const labelEvery = shown.window > 15 ? 900 : shown.window > 5 ? 300 : 60;
    list.forEach((column, index) => {
        const x = left + index * pitch;
        const barHeight = Math.max(column.count > 0 ? 1 : 0, plotHeight * column.rate / highest);
        const classes = `column${column.isRunning ? " running" : ""}${shown.marked === index ? " marked" : ""}`;
        parts.push(svg("rect", { class: classes, x: x + gap / 2, width: pitch - gap, y: top + plotHeight - barHeight, height: barHeight, rx: Math.min(2, pitch / 4) }));
        const isFarFromEdges = x > left + 14 && x < width - 14;
        if (column.at % labelEvery === 0 && isFarFromEdges) {
            parts.push(svg("text", { x, y: height - 4, "text-anchor": "middle" }, hourAndMinute.format(column.at * 1000)));
        }
    });
    box.replaceChildren(svg("svg", { "aria-hidden": "true" }, ...parts));

    const rates = list.filter((column) => !column.isRunning).map((column) => column.rate);
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / Math.max(1, rates.length);
    box.setAttribute("aria-label", `Events per second over the last ${windowInWords()}: on average ${whole.format(mean)}, at most ${whole.format(Math.max(0, ...rates))}. Arrow keys read single columns.`);
    describeMarked();
}

function mark(index) {
    shown.marked = index === null ? null : Math.min(shown.columns.length - 1, Math.max(0, index));
    draw();
}

function describeMarked() {
    const column = shown.columns[shown.marked];
    const text = column
        ? `${clock.format(column.at * 1000)} · ${whole.format(column.rate)} per second · ${whole.format(column.count)} events${column.isRunning ? " so far" : ` in ${column.seconds} s`}`
        : "";
    if ($("chart-point").textContent !== text) $("chart-point").textContent = text;
}

/** The next of 1, 2, 3, 4, 5, 6, 8, 10 × 10ⁿ: an axis that changes rarely. */
function niceCeiling(rate) {
    if (rate <= 0) return 1;
    const power = 10 ** Math.floor(Math.log10(rate));
    const factor = [1, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= rate);
    return Math.max(1, factor * power);
}

// ---- Texts and elements ----

function value(id, number) {
    $(id).textContent = number < 10_000_000 ? whole.format(number) : short(number);
    $(id).dataset.value = number;
}

function percent(id, share) {
    withUnit(id, share > 0 && share < 0.1 ? "< 0.1" : share === 0 ? "0" : share.toFixed(1), "%");
}

function withUnit(id, text, unit) {
    $(id).replaceChildren(text, element("span", { className: "unit" }, unit));
}

function short(number) {
    for (const [size, unit] of [[1e9, " G"], [1e6, " M"], [1e4, " k"]]) {
        if (number >= size) return fine.format(number / (unit === " k" ? 1e3 : size)) + unit;
    }
    return number < 10 ? fine.format(number) : whole.format(number);
}

function duration(ms) {
    const minutes = ms / 60_000;
    if (minutes < 1) return `${Math.round(ms / 1000)} s`;
    if (minutes < 120) return `${Math.floor(minutes)} min`;
    return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

const windowInWords = () => shown.window === 60 ? "hour" : `${shown.window} min`;
const sentence = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
}

function svg(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
    made.append(...children);
    return made;
}

// ---- Running ----

const columnAt = (event) => Math.floor((event.clientX - $("chart").getBoundingClientRect().left - 44) / ($("chart").clientWidth - 44) * shown.columns.length);
$("chart").addEventListener("pointermove", (event) => mark(columnAt(event)));
$("chart").addEventListener("pointerleave", () => mark(null));
$("chart").addEventListener("blur", () => mark(null));
$("chart").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    mark((shown.marked ?? shown.columns.length) + step);
});
$("window").addEventListener("change", (event) => {
    shown.window = Number(event.target.value);
    shown.marked = null;
    refresh();
});
new ResizeObserver(draw).observe($("chart"));

let pending = null;
function poll() {
    if (document.hidden || pending) return;
    pending = refresh().finally(() => { pending = null; });
}
document.addEventListener("visibilitychange", poll);
setInterval(poll, POLL_MS);
setInterval(() => {
    showAge();
    if (["live", "stale"].includes(document.body.dataset.state) && shown.newestAge !== null) showFreshness();
}, 500);
poll();
