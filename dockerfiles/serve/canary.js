// The version for a request that names none, while a canary runs; serving/rollout/traffic.py writes the file.
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
  const choice = request.headersIn["X-Canary"];
  // A rollout that was killed does not remove its file, so the file has an end.
  if (choice === "never" || Date.now() > canary.until_s * 1000) {
    return "";
  }
  // Derived from the random request id: nginx may evaluate this more than once for a request.
  const draw = parseInt(request.variables.request_id.slice(0, 8), 16) / 0x100000000;
  return choice === "always" || draw < canary.share ? canary.version : "";
}

export default { version };
