// A file of its own: the page must work where a content security policy forbids inline scripts.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null, // else the document is sent to a validator on the internet
});
