//! The web page in a real browser.

use serde_json::{Value, json};
use sim_pve::Latency;

use crate::chromium::Page;
use crate::simulators::{Simulators, TOKEN};

/// Text that would have an effect if a browser read it as HTML.
const HOSTILE: &str = "<img src=x onerror=\"window.injected=1\"><script>window.injected=1</script>";

/// Expression that lists controls without an accessible name.
const NAMELESS: &str = "[...document.querySelectorAll('input, select, textarea')].filter(field => !field.labels.length)
    .concat([...document.querySelectorAll('button')].filter(button => !button.textContent.trim()))
    .concat([...document.querySelectorAll('table')].filter(table => !table.closest('[aria-labelledby]')))
    .map(element => element.outerHTML)";

async fn opened(simulators: &Simulators) -> Page {
    let mut page = Page::open(1280, 1000).await;
    page.go_to(&simulators.server.page_url()).await;
    page.until_shown("#version", "9.2").await;
    page
}

#[tokio::test]
async fn a_person_queues_jobs_and_injects_faults() {
    let simulators = Simulators::start(Latency::Stepped).await;
    simulators.guests.print(8000, HOSTILE);
    let mut page = opened(&simulators).await;
    assert_eq!(page.value("location.hash").await, "", "the token does not stay in the address");
    page.until_shown("#guests tbody td:last-child", HOSTILE).await;
    page.until_shown("#nodes", "pve1").await;

    page.click("#open-jobs").await;
    page.screenshot("dialog-jobs").await;
    page.enter("#jobs-dialog [name=repository]", "acme/tools").await;
    page.enter("#jobs-dialog [name=name]", HOSTILE).await;
    page.click("#jobs-dialog button.main").await;
    page.until_shown("#jobs tbody", HOSTILE).await;
    page.until_shown("#message", "Queued one job.").await;
    assert_eq!(simulators.control.state(9, "")["github"]["jobs"]["items"][0]["name"], HOSTILE);
    page.click("#jobs tbody button").await;
    page.until_shown("#t-detail", HOSTILE).await;
    page.click("#detail-actions button").await;
    page.until_shown("#detail-body", "completed: cancelled").await;
    page.click("#detail .cancel").await;
    page.until_shown("#jobs tbody .state", "cancelled").await;

    page.click("#open-fault").await;
    page.screenshot("dialog-fault").await;
    page.enter("#fault-dialog [name=path]", "/version").await;
    page.enter("#fault-dialog [name=text]", HOSTILE).await;
    page.choose("#fault-dialog [name=when]", "chance").await;
    page.enter("#fault-dialog [name=chance]", "1").await;
    page.click("#fault-dialog button.main").await;
    page.until_shown("#rules tbody", "any\u{a0}/version").await;
    assert_eq!(simulators.pve("GET", "/version", &[]).await.unwrap().0, 500);
    page.until_shown("#fired tbody", HOSTILE).await;
    page.until_shown("#requests tbody .state.bad", "500").await;
    page.until_shown("#requests tbody", TOKEN).await;
    page.until_shown("#rules tbody", "each with 1").await;
    page.click("#repetition").await;
    page.until_shown("#detail-body", "\"calls\": [").await;
    page.click("#detail .cancel").await;
    page.click("#clear-faults").await;
    page.until_shown("#rules tbody", "used up").await;
    assert_eq!(simulators.pve("GET", "/version", &[]).await.unwrap().0, 200);

    let unsafe_parts = "document.querySelectorAll('main img, main script, dialog img, dialog script').length";
    assert_eq!(page.value("window.injected ?? null").await, Value::Null);
    assert_eq!(page.value(unsafe_parts).await, 0);
    assert_eq!(page.console_errors, Vec::<String>::new());
}

#[tokio::test]
async fn a_person_steps_time_and_reads_nodes_guests_and_tasks() {
    let simulators = Simulators::start(Latency::Stepped).await;
    simulators.guests.print(8000, HOSTILE);
    let mut page = opened(&simulators).await;
    page.enter("#time [name=seconds]", "90").await;
    page.click("#time [name=step]").await;
    page.until_shown("#elapsed", "after 1:30 min").await;
    page.click("#time [name=run]").await;
    page.until_shown("#mode", "running 1 ×").await;
    page.click("#time [name=hold]").await;
    page.until_shown("#mode", "held").await;

    page.click("#nodes button").await;
    page.until_shown("#nodes .state", "off").await;
    page.click("#nodes button").await;
    page.until("document.querySelector('#nodes .state') === null").await;

    let clone = [("newid", "9100"), ("name", "runner-1")];
    simulators.control.run(1000.0);
    assert_eq!(simulators.pve("POST", "/nodes/pve1/qemu/8000/clone", &clone).await.unwrap().0, 200);
    let cloned = "[...document.querySelectorAll('#tasks tbody tr')].some(row => /qmclone.*OK/.test(row.textContent))";
    page.until(cloned).await;
    page.until_shown("#guests tbody", "runner-1").await;
    page.enter("#guests-search", "golden").await;
    page.until("document.querySelector('#guests').tBodies[0].rows.length === 1").await;
    page.click("#guests tbody button").await;
    page.until_shown("#detail-body", HOSTILE).await;
    // The second click follows before the browser reports that the dialog has closed.
    page.value(
        "document.querySelector('#detail .cancel').click(), document.querySelector('#tasks tbody button').click()",
    )
    .await;
    page.until_shown("#detail-body", "TASK OK").await;
    page.click("#detail .cancel").await;

    page.click("#storages button").await;
    page.until_shown("#storages .state", "full").await;

    page.screenshot("light").await;
    assert_eq!(page.value("window.injected ?? null").await, Value::Null);
    assert_eq!(
        page.value("document.querySelectorAll('main img, main script, dialog img, dialog script').length").await,
        0
    );
    assert_eq!(page.console_errors, Vec::<String>::new());
}

#[tokio::test]
async fn the_page_fits_narrow_windows_loads_only_its_own_files_and_names_its_controls() {
    let simulators = Simulators::start(Latency::Instant).await;
    simulators.queue(30).await;
    let rule = json!({ "service": "github", "path": "/repos/*/actions/runners/generate-jitconfig", "fault": { "delay": { "seconds": 3 } } });
    simulators.post("/v1/faults", rule).await;
    for _ in 0..20 {
        simulators.pve("GET", "/nodes/pve1/qemu/8000/config?current=1", &[]).await.unwrap();
    }
    let mut page = opened(&simulators).await;
    page.until_shown("#requests-count", "20").await;
    assert_eq!(page.value("document.querySelector('#time').hidden").await, true, "real time is not stepped");
    assert_eq!(page.value(NAMELESS).await, json!([]));
    let elsewhere = "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith(location.origin))";
    assert_eq!(page.value(elsewhere).await, json!([]));
    for scheme in ["light", "dark"] {
        page.prefer(scheme).await;
        for width in [1280, 800, 360] {
            page.resize(width, 1000).await;
            page.screenshot(&format!("{scheme}-{width}")).await;
            let wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(page.value(wider).await, 0, "something is wider than a window of {width} px");
        }
    }
    assert_eq!(page.console_errors, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_token_the_page_asks_for_it_and_dialogs_show_errors() {
    let simulators = Simulators::start(Latency::Instant).await;
    let mut page = Page::open(1280, 800).await;
    page.go_to(&simulators.server.url()).await;
    page.until("document.querySelector('#token-dialog')?.open === true").await;
    assert_eq!(page.console_errors, Vec::<String>::new(), "nothing is asked without it");
    page.enter("#token-dialog input", "wrong").await;
    page.click("#token-dialog button").await;
    page.until("document.querySelector('#token-dialog')?.open === true").await;
    page.enter("#token-dialog input", simulators.server.token()).await;
    page.click("#token-dialog button").await;
    page.until_shown("#version", "9.2").await;

    page.click("#open-jobs").await;
    page.enter("#jobs-dialog [name=repository]", "no repository").await;
    page.click("#jobs-dialog button.main").await;
    page.until_shown("#jobs-dialog .problem", "repository: \"no repository\" is not a repository (allowed: owner/name")
        .await;
    assert_eq!(page.value("document.querySelector('#jobs-dialog').open").await, true);
    page.screenshot("problem").await;

    drop(simulators);
    page.until_shown("#message", "The simulators do not answer").await;
}
