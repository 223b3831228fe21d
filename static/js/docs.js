// The API docs: Swagger UI for our OpenAPI document. It stores nothing and makes no request to another site.

const main = document.getElementById('docs');
SwaggerUIBundle({
  url: main.dataset.document,
  domNode: main,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: 'list',
  persistAuthorization: false,
  validatorUrl: null, // otherwise it calls validator.swagger.io
});
