// A file of its own, so that the page needs no script inside its HTML (Content-Security-Policy).
SwaggerUIBundle({ url: "/openapi.yaml", dom_id: "#api", deepLinking: true, tryItOutEnabled: true });
