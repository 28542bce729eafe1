// Calls the simulator with GitHub's own JavaScript client and reports the results. octokit.rs checks them.
import { createAppAuth } from "@octokit/auth-app";
import { Octokit } from "@octokit/rest";

const { url, appId, privateKey, installationId, token, skewed } = JSON.parse(process.argv[2]);
const log = { debug() {}, info() {}, warn() {}, error() {} };
const asApp = (auth) => new Octokit({ authStrategy: createAppAuth, auth, baseUrl: url, log });
const repository = { owner: "acme", repo: "tools" };

async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return { name: error.name, status: error.status, message: error.message };
  }
  return null;
}

async function life() {
  const app = asApp({ appId, privateKey });
  const found = {};
  found.app = (await app.rest.apps.getAuthenticated()).data.name;
  found.installation = (await app.rest.apps.getRepoInstallation(repository)).data.id;
  const farm = asApp({ appId, privateKey, installationId });
  const { actions } = farm.rest;
  found.minted = [];
  for (const name of ["a", "b", "c", "d", "e"]) {
    const request = { ...repository, name, runner_group_id: 1, labels: ["linux", "x64"] };
    const { data } = await actions.generateRunnerJitconfigForRepo(request);
    found.minted.push([data.runner.name, Buffer.from(data.encoded_jit_config, "base64").length > 0]);
  }
  found.taken = await refusal(
    actions.generateRunnerJitconfigForRepo({ ...repository, name: "a", runner_group_id: 1, labels: ["linux"] }),
  );
  const runners = await farm.paginate(actions.listSelfHostedRunnersForRepo, { ...repository, per_page: 2 });
  found.runners = runners.map((runner) => [runner.name, runner.status, runner.labels.map((label) => label.name)]);
  const { data: runs } = await actions.listWorkflowRunsForRepo({ ...repository, status: "queued" });
  const run_id = runs.workflow_runs[0].id;
  const jobs = await farm.paginate(actions.listJobsForWorkflowRun, { ...repository, run_id, per_page: 1 });
  found.jobs = jobs.map((job) => [job.name, job.status, job.labels]);
  const { data: job, headers } = await actions.getJobForWorkflowRun({ ...repository, job_id: jobs[0].id });
  found.job = job.name;
  found.unchanged = await refusal(
    actions.getJobForWorkflowRun({ ...repository, job_id: job.id, headers: { "if-none-match": headers.etag } }),
  );
  await actions.deleteSelfHostedRunnerFromRepo({ ...repository, runner_id: runners[0].id });
  found.gone = await refusal(actions.getSelfHostedRunnerForRepo({ ...repository, runner_id: runners[0].id }));
  const added = await actions.addCustomLabelsToSelfHostedRunnerForRepo({
    ...repository, runner_id: runners[1].id, labels: ["gpu"],
  });
  found.labels = added.data.labels.map((label) => label.name);
  const group = await farm.request("POST /orgs/{org}/actions/runner-groups", { org: "acme", name: "trusted" });
  const groups = await farm.request("GET /orgs/{org}/actions/runner-groups", { org: "acme" });
  found.groups = groups.data.runner_groups.map((one) => [one.name, one.id === group.data.id]);
  found.downloads = (await actions.listRunnerApplicationsForRepo(repository)).data.map((one) => one.architecture);
  found.registration = (await actions.createRegistrationTokenForRepo(repository)).data.token.length > 0;
  found.limit = (await farm.rest.rateLimit.get()).data.resources.core.limit;
  found.repositories = (await farm.rest.apps.listReposAccessibleToInstallation()).data.repositories.map((one) => one.full_name);
  found.cancelled = (await actions.cancelWorkflowRun({ ...repository, run_id })).status;
  await actions.reRunWorkflowFailedJobs({ ...repository, run_id });
  found.attempt = (await actions.getWorkflowRun({ ...repository, run_id })).data.run_attempt;
  const reader = new Octokit({ auth: token, baseUrl: url, log });
  found.forbidden = await refusal(reader.rest.actions.deleteSelfHostedRunnerFromRepo({ ...repository, runner_id: 1 }));
  found.unknown = await refusal(new Octokit({ auth: "nobody", baseUrl: url, log }).rest.repos.get(repository));
  return found;
}

// This clock is ahead of the server's. The client corrects it from the refusal and its date.
async function clock() {
  return { app: (await asApp({ appId, privateKey }).rest.apps.getAuthenticated()).data.name };
}

console.log(JSON.stringify(await (skewed ? clock() : life())));
