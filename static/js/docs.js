/* /api/docs: Swagger UI over our own OpenAPI file. Nothing is kept and nobody else is asked. */

const main = document.getElementById('docs');
SwaggerUIBundle({
  url: main.dataset.document,
  domNode: main,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: 'list',
  persistAuthorization: false,
  validatorUrl: null, // else it asks validator.swagger.io
});
