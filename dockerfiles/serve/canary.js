// Which version a request without one goes to while a canary runs; serving/rollout/canary.py writes the file.
import fs from "fs";

function version(request) {
  if (!request.uri.endsWith("/fruity")) {
    return "";
  }
  let canary;
  try {
    canary = JSON.parse(fs.readFileSync(request.variables.canary_file));
  } catch (error) {
    return "";
  }
  const wish = request.headersIn["X-Canary"];
  // A rollout that was killed leaves its file behind.
  if (wish === "never" || Date.now() > canary.until_s * 1000) {
    return "";
  }
  // By the random id of the request: whenever nginx asks again, the answer is the same.
  const draw = parseInt(request.variables.request_id.slice(0, 8), 16) / 0x100000000;
  return wish === "always" || draw < canary.share ? canary.version : "";
}

export default { version };
