// Who a request comes from, by the SHA-256 of its X-API-Key; nginx reads the list anew when it reloads.
import crypto from "crypto";

function client(request) {
  const key = request.headersIn["X-API-Key"] || "";
  const digest = crypto.createHash("sha256").update(key).digest("hex");
  let found = "";
  // The whole list and every digit, whatever matches: the time says nothing about the keys.
  for (const name in keys) {
    let difference = 0;
    for (let i = 0; i < 64; i++) {
      difference |= digest.charCodeAt(i) ^ keys[name].charCodeAt(i);
    }
    found = difference === 0 ? name : found;
  }
  return found;
}

export default { client };
