// Walks the lists that npm's `pipedrive` offers and writes every row as a line of JSON: [list, row].
// Usage: node npm_client.mjs ORIGIN TOKEN RECORDS, in a folder in which `pipedrive` is installed.
// RECORDS limits how many deals, persons and so on are asked for their followers and changes.
import v1 from "pipedrive/v1";
import v2 from "pipedrive/v2";

const [origin, apiKey, most] = process.argv.slice(2);
const settings = new v2.Configuration({ apiKey, basePath: `${origin}/api/v2` });
const older = new v1.Configuration({ apiKey, basePath: `${origin}/api/v1` });
const LIMIT = 500;
const RECORDS = Number(most);

const COUNTS =
  "next_activity_id,last_activity_id,email_messages_count,activities_count,done_activities_count," +
  "undone_activities_count,files_count,notes_count,followers_count,smart_bcc_email";
const CONTACT_COUNTS =
  COUNTS +
  ",open_deals_count,related_open_deals_count,closed_deals_count,related_closed_deals_count," +
  "won_deals_count,related_won_deals_count,lost_deals_count,related_lost_deals_count";
const DEAL_COUNTS =
  COUNTS +
  ",first_won_time,products_count,participants_count,last_incoming_mail_time," +
  "last_outgoing_mail_time,source_lead_id";
const PERSON_COUNTS =
  CONTACT_COUNTS +
  ",participant_open_deals_count,participant_closed_deals_count,last_incoming_mail_time,last_outgoing_mail_time";

async function* walk(api, method, params = {}) {
  let cursor;
  do {
    const answer = await api[method]({ ...params, limit: LIMIT, cursor });
    yield* answer.data ?? [];
    cursor = answer.additional_data?.next_cursor;
  } while (cursor);
}

let lines = [];
function write(list, row) {
  lines.push(JSON.stringify([list, row]));
  if (lines.length >= 1000) flush();
}

function flush() {
  if (lines.length) process.stdout.write(lines.join("\n") + "\n");
  lines = [];
}

async function dump(list, api, method, params = {}, more = {}) {
  const ids = [];
  for await (const row of walk(api, method, params)) {
    write(list, { ...more, ...row });
    ids.push(row.id);
  }
  return ids;
}

const byNumber = (a, b) => a - b;
const deals = new v2.DealsApi(settings);
const persons = new v2.PersonsApi(settings);
const organizations = new v2.OrganizationsApi(settings);
const products = new v2.ProductsApi(settings);
const projects = new v2.ProjectsApi(settings);

const dealIds = [
  ...(await dump("deals", deals, "getDeals", { include_fields: DEAL_COUNTS })),
  ...(await dump("deals", deals, "getArchivedDeals", { include_fields: DEAL_COUNTS })),
].sort(byNumber);
for (let start = 0; start < dealIds.length; start += 100) {
  // The client repeats the key for a list; the API documents ids separated by commas.
  const batch = { deal_ids: dealIds.slice(start, start + 100) };
  await dump("deal_products", new v2.DealProductsApi(settings), "getDealsProducts", batch);
  await dump("installments", new v2.DealInstallmentsApi(settings), "getInstallments", batch);
}
const personIds = await dump("persons", persons, "getPersons", { include_fields: PERSON_COUNTS });
const organizationIds = await dump("organizations", organizations, "getOrganizations", {
  include_fields: CONTACT_COUNTS + ",people_count",
});
const productIds = await dump("products", products, "getProducts");
await dump("activities", new v2.ActivitiesApi(settings), "getActivities", { include_fields: "attendees" });
await dump("stages", new v2.StagesApi(settings), "getStages");
await dump("pipelines", new v2.PipelinesApi(settings), "getPipelines");
const projectIds = [
  ...(await dump("projects", projects, "getProjects")),
  ...(await dump("projects", projects, "getArchivedProjects")),
].sort(byNumber);
await dump("tasks", new v2.TasksApi(settings), "getTasks");
await dump("project_templates", new v2.ProjectTemplatesApi(settings), "getProjectTemplates");
const boards = (await new v2.ProjectBoardsApi(settings).getProjectsBoards()).data;
for (const board of boards) {
  write("boards", board);
  const phases = await new v2.ProjectPhasesApi(settings).getProjectsPhases({ board_id: board.id });
  for (const phase of phases.data) write("phases", phase);
}
for (const name of ["Deal", "Person", "Organization", "Product", "Activity", "Project"]) {
  const api = new v2[`${name}FieldsApi`](settings);
  await dump(`${name.toLowerCase()}_fields`, api, `get${name}Fields`);
}
const userIds = [];
for (const user of (await new v1.UsersApi(older).getUsers()).data) {
  write("users", user);
  userIds.push(user.id);
}

const followed = [
  ["deal", deals, "Deal", dealIds],
  ["person", persons, "Person", personIds],
  ["organization", organizations, "Organization", organizationIds],
  ["product", products, "Product", productIds],
];
for (const [entity, api, name, all] of followed) {
  const parent = entity === "organization" ? "org_id" : `${entity}_id`;
  for (const id of all.slice(0, RECORDS)) {
    await dump(`${entity}_followers`, api, `get${name}Followers`, { id }, { [parent]: id });
    await dump(`${entity}_follower_changes`, api, `get${name}FollowersChangelog`, { id }, { [parent]: id });
  }
}
for (const id of userIds) {
  await dump("user_followers", new v2.UsersApi(settings), "getUserFollowers", { id }, { followed_user_id: id });
}
const olderDeals = new v1.DealsApi(older);
for (const id of dealIds.slice(0, RECORDS)) {
  for (const row of (await deals.getAdditionalDiscounts({ id })).data ?? []) write("discounts", row);
  await dump("deal_changes", olderDeals, "getDealChangelog", { id }, { deal_id: id });
}
for (const id of productIds.slice(0, RECORDS)) {
  await dump("product_variations", products, "getProductVariations", { id });
}
for (const id of projectIds.slice(0, RECORDS)) {
  await dump("project_changes", projects, "getProjectChangelog", { id }, { project_id: id });
}
flush();
