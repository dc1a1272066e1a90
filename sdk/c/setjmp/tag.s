# The tag that longjmp throws, with the address of what it carries.
	.globl	__c_longjmp
	.tagtype	__c_longjmp i32
__c_longjmp:
